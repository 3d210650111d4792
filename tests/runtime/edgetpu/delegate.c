// SPDX-License-Identifier: Apache-2.0
// A stand-in for libedgetpu: a TensorFlow Lite delegate that takes every edgetpu-custom-op and
// computes one small dense layer for it on the CPU, with faults on command.
//
// Only the leading fields of the interpreter's C structures are declared, in the order in which
// TensorFlow Lite 2.5 to 2.21 lay them out; nothing behind them is touched.
//
// Environment, each empty or absent for "no": STANDIN_NO_DEVICE, STANDIN_CRASH and STANDIN_HANG
// (load, create, prepare or invoke), STANDIN_LOST_AFTER (inferences until the device is lost; it
// is back when it is opened again), STANDIN_STAYS_LOST, STANDIN_SLOW_MS (each inference, or those
// after the first STANDIN_SLOW_AFTER), STANDIN_LOG (a file that
// gets a line for each event).
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OK = 0, ERROR = 1, INPUTS = 4, OUTPUTS = 3 };

typedef struct { int size; int data[]; } IntArray;

typedef struct {
  int type;
  void* data;
  IntArray* dims;
  float scale;
  int32_t zero_point;
  int allocation_type;
  size_t bytes;
  const void* allocation;
  const char* name;
  void* delegate;
  int buffer_handle;
  _Bool data_is_stale, is_variable;
  struct { int type; void* params; } quantization;
  void* sparsity;
  const IntArray* dims_signature;
} Tensor;

typedef struct { IntArray *inputs, *outputs; } Node;

typedef struct Context Context;
typedef struct Delegate Delegate;

// The interpreter takes this by value; the room at the end covers fields of later releases.
typedef struct {
  void* (*init)(Context*, const char*, size_t);
  void (*free)(Context*, void*);
  int (*prepare)(Context*, Node*);
  int (*invoke)(Context*, Node*);
  const char* (*profiling_string)(const Context*, const Node*);
  int32_t builtin_code;
  const char* custom_name;
  int version;
  void* room[8];
} Registration;

struct Context {
  size_t tensors_size;
  int (*GetExecutionPlan)(Context*, IntArray**);
  Tensor* tensors;
  void* impl;
  int (*ResizeTensor)(Context*, Tensor*, IntArray*);
  void (*ReportError)(Context*, const char*, ...);
  int (*AddTensors)(Context*, int, int*);
  int (*GetNodeAndRegistration)(Context*, int, Node**, Registration**);
  int (*ReplaceNodeSubsetsWithDelegateKernels)(Context*, Registration, const IntArray*, Delegate*);
};

struct Delegate {
  void* data;
  int (*Prepare)(Context*, Delegate*);
  int (*CopyFromBufferHandle)(Context*, Delegate*, int, Tensor*);
  int (*CopyToBufferHandle)(Context*, Delegate*, int, Tensor*);
  void (*FreeBufferHandle)(Context*, Delegate*, int*);
  int64_t flags;
  void* room[8];
};

static const int kWeights[OUTPUTS][INPUTS] = {{1, 0, 0, 0}, {1, 1, 1, 1}, {1, -1, 1, -1}};
static const int kBias[OUTPUTS] = {0, 10, -20};
static int inferences, lost, lost_once;
static int runs;

static const char* setting(const char* name) {
  const char* value = getenv(name);
  return value ? value : "";
}

static void note(const char* event) {
  FILE* log = fopen(setting("STANDIN_LOG"), "a");
  if (log) {
    fprintf(log, "%d %s\n", (int)getpid(), event);
    fclose(log);
  }
}

static void fail_at(const char* step) {
  note(step);
  if (!strcmp(setting("STANDIN_CRASH"), step)) raise(SIGSEGV);
  while (!strcmp(setting("STANDIN_HANG"), step)) sleep(1);
}

__attribute__((constructor)) static void loaded(void) { fail_at("load"); }

static int prepare(Context* context, Node* node) {
  (void)context, (void)node;
  fail_at("prepare");
  return OK;
}

static int invoke(Context* context, Node* node) {
  fail_at("invoke");
  const char* after = setting("STANDIN_LOST_AFTER");
  if (*after && !lost_once && ++inferences > atoi(after)) lost = lost_once = 1;
  if (lost) {
    context->ReportError(context, "Failed to execute request. Edge TPU is not ready.");
    return ERROR;
  }
  if (++runs > atoi(setting("STANDIN_SLOW_AFTER"))) usleep(1000 * atoi(setting("STANDIN_SLOW_MS")));
  const int8_t* x = context->tensors[node->inputs->data[0]].data;
  int8_t* y = context->tensors[node->outputs->data[0]].data;
  for (int i = 0; i < OUTPUTS; ++i) {
    int sum = kBias[i];
    for (int j = 0; j < INPUTS; ++j) sum += kWeights[i][j] * x[j];
    y[i] = sum < -128 ? -128 : sum > 127 ? 127 : sum;
  }
  return OK;
}

static int take_operators(Context* context, Delegate* delegate) {
  IntArray* plan;
  if (context->GetExecutionPlan(context, &plan) != OK) return ERROR;
  IntArray* ours = calloc(1, sizeof(IntArray) + plan->size * sizeof(int));
  for (int i = 0; i < plan->size; ++i) {
    Node* node;
    Registration* registration;
    if (context->GetNodeAndRegistration(context, plan->data[i], &node, &registration) != OK)
      return ERROR;
    const char* name = registration->custom_name;
    if (name && !strcmp(name, "edgetpu-custom-op")) ours->data[ours->size++] = plan->data[i];
  }
  Registration kernel = {.prepare = prepare, .invoke = invoke, .version = 1};
  kernel.custom_name = "EdgeTpuDelegateForCustomOp";
  int status = context->ReplaceNodeSubsetsWithDelegateKernels(context, kernel, ours, delegate);
  free(ours);
  return status;
}

Delegate* tflite_plugin_create_delegate(char** keys, char** values, size_t count,
                                        void (*report)(const char*)) {
  (void)report;
  fail_at("create");
  for (size_t i = 0; i < count; ++i) {
    char option[64];
    snprintf(option, sizeof option, "option %s=%s", keys[i], values[i]);
    note(option);
  }
  if (*setting("STANDIN_NO_DEVICE") || (lost_once && *setting("STANDIN_STAYS_LOST"))) return NULL;
  lost = 0;
  Delegate* delegate = calloc(1, sizeof(Delegate));
  delegate->Prepare = take_operators;
  // Allow dynamic tensors: without it the interpreter prepares every operator before it asks.
  delegate->flags = 1;
  return delegate;
}

void tflite_plugin_destroy_delegate(Delegate* delegate) {
  note("destroy");
  free(delegate);
}

#ifdef VERSION
const char* edgetpu_version(void) { return VERSION; }
#endif
