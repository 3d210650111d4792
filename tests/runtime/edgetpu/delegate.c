// SPDX-License-Identifier: Apache-2.0
// A stand-in for libedgetpu: a TensorFlow Lite delegate that takes every edgetpu-custom-op and
// computes one small dense layer for it on the CPU, or looks its answers up, with faults on command.
//
// Only the leading fields of the interpreter's C structures are declared, in the order in which
// TensorFlow Lite 2.5 to 2.21 lay them out; nothing behind them is touched.
//
// Environment, each empty or absent for "no": STANDIN_NO_DEVICE, STANDIN_CRASH and STANDIN_HANG
// (load, create, prepare, invoke or destroy), STANDIN_LOST_AFTER (inferences until the device is lost; it
// is back when it is opened again), STANDIN_STAYS_LOST, STANDIN_SLOW_MS (each inference, or those
// after the first STANDIN_SLOW_AFTER), STANDIN_LOG (a file that
// gets a line for each event), STANDIN_ANSWERS (a folder with a file of outputs for each program
// and input: PROGRAM-INPUT, the FNV-1a hashes of the operator's options and of the input),
// STANDIN_WRONG (the first bit of the output is flipped), STANDIN_AT (the hash of the program that
// the faults of prepare and invoke are for; without it, of all), STANDIN_ARMED (a file that is
// created when a delegate is destroyed for the first time; crashes and hangs begin only then).
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

typedef struct {
  IntArray *inputs, *outputs, *intermediates, *temporaries;
  void *user_data, *builtin_data;
  const void* custom_initial_data;
  int custom_initial_data_size;
} Node;

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
static uint64_t program;  // the hash of the options of the operator that was taken last

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

static uint64_t fnv1a(const void* content, size_t size) {
  uint64_t hash = 0xcbf29ce484222325;
  for (size_t i = 0; i < size; ++i) hash = (hash ^ ((const uint8_t*)content)[i]) * 0x100000001b3;
  return hash;
}

static int is_faulty(void) {
  const char* at = setting("STANDIN_AT");
  return !*at || strtoull(at, NULL, 16) == program;
}

static int is_armed(void) {
  const char* file = setting("STANDIN_ARMED");
  return !*file || access(file, F_OK) == 0;
}

static void fail_at(const char* step) {
  note(step);
  if (!is_faulty() || !is_armed()) return;
  if (!strcmp(setting("STANDIN_CRASH"), step)) raise(SIGSEGV);
  while (!strcmp(setting("STANDIN_HANG"), step)) sleep(1);
}

__attribute__((constructor)) static void loaded(void) { fail_at("load"); }

static int prepare(Context* context, Node* node) {
  (void)context, (void)node;
  fail_at("prepare");
  return OK;
}

static int look_up(Context* context, const Tensor* x, Tensor* y) {
  char path[4096];
  snprintf(path, sizeof path, "%s/%016llx-%016llx", setting("STANDIN_ANSWERS"),
           (unsigned long long)program, (unsigned long long)fnv1a(x->data, x->bytes));
  FILE* file = fopen(path, "rb");
  size_t size = file ? fread(y->data, 1, y->bytes, file) : 0;
  if (file) fclose(file);
  if (size != y->bytes) {
    context->ReportError(context, "the stand-in has no answer %s", path);
    return ERROR;
  }
  if (*setting("STANDIN_WRONG") && is_faulty()) *(uint8_t*)y->data ^= 1;
  return OK;
}

static int invoke(Context* context, Node* node) {
  fail_at("invoke");
  const char* after = setting("STANDIN_LOST_AFTER");
  if (*after && is_faulty() && !lost_once && ++inferences > atoi(after)) lost = lost_once = 1;
  if (lost) {
    context->ReportError(context, "Failed to execute request. Edge TPU is not ready.");
    return ERROR;
  }
  if (is_faulty() && ++runs > atoi(setting("STANDIN_SLOW_AFTER")))
    usleep(1000 * atoi(setting("STANDIN_SLOW_MS")));
  if (*setting("STANDIN_ANSWERS"))
    return look_up(context, &context->tensors[node->inputs->data[0]],
                   &context->tensors[node->outputs->data[0]]);
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
    if (!name || strcmp(name, "edgetpu-custom-op")) continue;
    ours->data[ours->size++] = plan->data[i];
    program = fnv1a(node->custom_initial_data, node->custom_initial_data_size);
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
  fail_at("destroy");
  if (!is_armed()) fclose(fopen(setting("STANDIN_ARMED"), "w"));
  free(delegate);
}

#ifdef VERSION
const char* edgetpu_version(void) { return VERSION; }
#endif
