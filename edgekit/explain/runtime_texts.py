# SPDX-License-Identifier: Apache-2.0
"""The texts that libedgetpu, its driver and the interpreters print on the device."""

from __future__ import annotations

from edgekit.explain.known import KnownText

RUNTIME_TEXTS = (
    KnownText(
        code="runtime.package_newer",
        title="The model needs a newer Edge TPU runtime",
        pattern=r"requires runtime version \((?P<wanted>\d+)\), which is newer than this runtime "
        r"version \((?P<have>\d+)\)",
        example="RuntimeError: Failed to prepare for TPU. Failed precondition: Package requires "
        "runtime version (14), which is newer than this runtime version (13).Node number 2 "
        "(EdgeTpuDelegateForCustomOp) failed to prepare.",
        cause="The model was compiled for runtime {wanted}; libedgetpu here is runtime {have}.",
        fix="Compile for it (edgekit compile MODEL --min-runtime-version {have}), or install a "
        "newer libedgetpu (16.0 is runtime 14).",
        source="google-coral/edgetpu issue 435; google-coral/pycoral issue 104",
    ),
    KnownText(
        code="runtime.package_old",
        title="The model was compiled for a very old runtime",
        pattern=r"Minimum runtime version required by package \((?P<wanted>-?\d+)\) is lower than",
        example="Minimum runtime version required by package (5) is lower than expected (10)",
        cause="The compiled model requires runtime {wanted}; the first public one is 10.",
        fix="Compile the model again with a current compiler.",
        source="libedgetpu, driver/package_registry.cc",
    ),
    KnownText(
        code="runtime.no_delegate",
        title="A compiled model without libedgetpu",
        pattern=r"Encountered unresolved custom op: edgetpu-custom-op"
        r"|Didn't find custom op for name 'edgetpu-custom-op'",
        example="RuntimeError: Encountered unresolved custom op: edgetpu-custom-op.\nSee "
        "instructions: https://www.tensorflow.org/lite/guide/ops_custom Node number 0 "
        "(edgetpu-custom-op) failed to prepare.",
        cause="The model is compiled for the Edge TPU, but the interpreter was created without the "
        "Edge TPU's delegate (libedgetpu), or the delegate was lost.",
        fix="Load it with load_delegate('libedgetpu.so.1'), run it with edgekit run --device usb "
        "or pci, or use the model before compilation.",
        source="measured with tensorflow 2.21, ai-edge-litert 2.3, tflite-runtime 2.14",
    ),
    KnownText(
        code="runtime.delegate_failed",
        title="libedgetpu is installed but does not find a device",
        pattern=r"Failed to load delegate from (?P<library>\S+)",
        example="ValueError: Failed to load delegate from libedgetpu.so.1",
        cause="{library} was loaded but could not open an Edge TPU: none is connected, this user "
        "may not open it (udev rule, group plugdev or apex), another process uses it, it was not "
        "passed into the container (both USB ids), or the device option is wrong. The text is the "
        "same for all of these.",
        fix="Run edgekit doctor, which checks them one after the other.",
        source="google-coral/edgetpu issue 873 and many more; measured",
    ),
    KnownText(
        code="runtime.library_missing",
        title="libedgetpu is not installed",
        pattern=r"(?P<library>(?:lib)?edgetpu[\w.]{0,99})['\")]*,?:? .{0,300}(?:cannot open "
        r"shared object file|[Nn]o such file|image not found)"
        r"|Could not find module '(?P<module>edgetpu\.dll)'",
        example="OSError: libedgetpu.so.1: cannot open shared object file: No such file or "
        "directory",
        cause="The Edge TPU's runtime library is not in a folder that the loader searches.",
        fix="Install libedgetpu1-std (Coral's packages, or a community build for newer systems); "
        "edgekit doctor shows which one fits.",
        source="measured with three interpreters",
        words=("edgetpu",),
    ),
    KnownText(
        code="runtime.not_a_delegate",
        title="The library is not a TensorFlow Lite delegate",
        pattern=r"undefined symbol: tflite_plugin_create_delegate",
        example="AttributeError: libusb.so: undefined symbol: tflite_plugin_create_delegate",
        cause="load_delegate was given a library that is not libedgetpu.",
        fix="Name libedgetpu.so.1 (libedgetpu.1.dylib on macOS, edgetpu.dll on Windows).",
        source="measured",
    ),
    KnownText(
        code="runtime.delegate_attribute",
        title="A follow-up error of a delegate that failed to load",
        pattern=r"'Delegate' object has no attribute '_library'",
        example="AttributeError: 'Delegate' object has no attribute '_library'",
        cause="Python deletes a delegate that was never fully created.",
        fix="Look at the error before it.",
        source="google-coral/edgetpu issue 167; measured",
        consequence=True,
    ),
    KnownText(
        code="runtime.abi",
        title="Interpreter and libedgetpu were built from different TensorFlow versions",
        pattern=r"Unsupported data type in custom op handler"
        r"|batches \* single_input_size != input->bytes",
        example="Internal: Unsupported data type in custom op handler: 0Node number 1 "
        "(EdgeTpuDelegateForCustomOp) failed to prepare.",
        cause="They exchange C structures whose layout changed: tflite-runtime 2.1 with libedgetpu "
        "15.0 is the known pair.",
        fix="Install a pair that fits together: libedgetpu 16.0 with tflite-runtime 2.5.0.post1 "
        "to 2.11.1; edgekit doctor shows what is installed.",
        source="google-coral/edgetpu issues 259, 44; google-coral/pycoral issues 1, 15",
    ),
    KnownText(
        code="runtime.segfault",
        title="The process crashed with a segmentation fault",
        pattern=r"^(?!.*edgetpu_compiler: line).*Segmentation fault|\bSIGSEGV\b",
        example="Segmentation fault (core dumped)",
        cause="With a compiled model: tflite-runtime or TensorFlow 2.12 or later with Google's "
        "libedgetpu 16.0, which was built from TensorFlow 2.5. In a conversion: an LSTM or GRU "
        "layer in TensorFlow's quantizer.",
        fix="On a device, install a libedgetpu that was built from the interpreter's TensorFlow "
        "(community builds state it), or tflite-runtime 2.11.1 or older. Convert with edgekit "
        "convert, which unrolls such layers.",
        source="google-coral/edgetpu issues 731, 812; libedgetpu issue 53; tensorflow issue 62371",
        words=("Segmentation fault", "SIGSEGV"),
    ),
    KnownText(
        code="runtime.numpy2",
        title="A package built for NumPy 1 is used with NumPy 2",
        pattern=r"compiled using NumPy 1\.x cannot be run in|_ARRAY_API not found"
        r"|numpy\.core\.multiarray failed to import",
        example="A module that was compiled using NumPy 1.x cannot be run in NumPy 2.2.1 as it may "
        "crash.\nAttributeError: _ARRAY_API not found\n"
        "ImportError: numpy.core.multiarray failed to import",
        cause="tflite-runtime up to 2.17 and pycoral were built for NumPy 1.",
        fix="pip install 'numpy<2'",
        source="seen with tflite-runtime 2.14",
    ),
    KnownText(
        code="runtime.pycoral_name",
        title="This pycoral is another project",
        pattern=r"No module named 'pycoral\.utils'",
        example="ModuleNotFoundError: No module named 'pycoral.utils'",
        cause="The package index's pycoral is about coral reefs (Allen Coral Atlas); or a folder "
        "named pycoral comes before Google's in the import path.",
        fix="pip uninstall pycoral, and install Google's wheel (Python 3.6 to 3.9) or a community "
        "build; edgekit needs neither.",
        source="the package's own description",
    ),
    KnownText(
        code="runtime.pycoral_clone",
        title="Python runs inside a copy of pycoral's sources",
        pattern=r"No module named 'pycoral\.pybind'",
        example="ModuleNotFoundError: No module named 'pycoral.pybind'",
        cause="The folder pycoral of the source tree hides the installed package.",
        fix="Leave that folder and start again.",
        source="google-coral/pycoral issues",
    ),
    KnownText(
        code="runtime.pcie",
        title="The PCIe device stopped responding",
        pattern=r"HIB Error\. hib_error_status = (?P<status>\w+)",
        example="HIB Error. hib_error_status = 0000000000000001, hib_first_error_status = "
        "0000000000000001",
        cause="DMA or interrupts (MSI) between host and Edge TPU fail: power management of the "
        "link, 64-bit addresses, too few MSI vectors, heat. All ones mean that the link is gone.",
        fix="Boot with pcie_aspm=off, load gasket with dma_bit_mask=32, check the temperature; "
        "edgekit doctor reads what the driver reports.",
        source="google-coral/edgetpu issues 507, 395, 484",
    ),
    KnownText(
        code="runtime.usb_permission",
        title="The USB device may not be opened",
        pattern=r"USB error -3\b",
        example="Permission denied: USB error -3 [OpenDevice]",
        cause="The device node belongs to root: the udev rule is missing, or covers only one of "
        "the two ids (1a6e:089a before, 18d1:9302 after the firmware is loaded).",
        fix="Install edgekit's udev rule, add the user to the group plugdev, log in again, and "
        "replug.",
        source="google-coral/edgetpu issues 143, 166",
    ),
    KnownText(
        code="runtime.usb_transfer",
        title="A USB transfer failed",
        pattern=r"USB transfer error (?P<number>\d+)",
        example="Transfer on tag 1 failed. Abort. Deadline exceeded: USB transfer error 2 "
        "[LibUsbDataOutCallback].",
        cause="The device was reset, unplugged or had too little power (libusb status {number}), "
        "or another process opened it.",
        fix="Use a powered USB 3 port and a short cable, libedgetpu1-std instead of -max, and one "
        "process only.",
        source="google-coral/edgetpu issues 11, 645; libedgetpu issue 41",
    ),
    KnownText(
        code="runtime.not_ready",
        title="libedgetpu lost its device",
        pattern=r"Failed to retrieve TPU context|Edge TPU is not ready"
        r"|Failed to execute request",
        example="Failed to execute request. Edge TPU is not ready.",
        cause="The delegate does not have an open device any more: it was unplugged, reset or "
        "closed.",
        fix="Create a new interpreter; if that also fails, replug the device and run edgekit "
        "doctor.",
        source="libedgetpu, tflite/edgetpu_delegate_for_custom_op.cc",
    ),
    KnownText(
        code="runtime.performance",
        title="An unknown performance setting",
        pattern=r"Invalid performance setting",
        example="Invalid performance setting.",
        cause="libedgetpu accepts Low, Medium, High or Max.",
        fix="Give one of these.",
        source="libedgetpu, tflite/edgetpu_manager_direct.cc",
    ),
    KnownText(
        code="interpreter.input_type",
        title="The input does not have the model's type",
        pattern=r"Cannot set tensor: Got value of type (?P<got>\w+) but expected type "
        r"(?P<expected>\w+)",
        example="ValueError: Cannot set tensor: Got value of type FLOAT32 but expected type UINT8 "
        "for input 0, name: input",
        cause="The model expects {expected}, the array is {got}. A simple cast would give wrong "
        "values: real numbers must be quantized with the input's scale and zero point.",
        fix="Use edgekit.Runner(...).predict, which quantizes; or q = round(x / scale) + "
        "zero_point with the values of edgekit inspect MODEL.",
        source="google-coral/edgetpu issue 13; tensorflow issue 58101",
    ),
    KnownText(
        code="interpreter.not_allocated",
        title="The model was not allocated",
        pattern=r"Invoke called on model that is not ready",
        example="RuntimeError: Invoke called on model that is not ready.",
        cause="allocate_tensors() was not called, or failed.",
        fix="Call it first, and look at its error.",
        source="measured",
    ),
    KnownText(
        code="interpreter.xnnpack",
        title="XNNPACK refuses an operator of an old model",
        pattern=r"\(TfLiteXNNPackDelegate\) failed to prepare",
        example="RuntimeError: failed to delegate RESIZE_BILINEAR node #63Node number 72 "
        "(TfLiteXNNPackDelegate) failed to prepare.",
        cause="The interpreter passes quantized operators to XNNPACK by default; XNNPACK does not "
        "accept this one.",
        fix="Use the reference kernels: edgekit run --kernels reference.",
        source="measured with tensorflow 2.21 and ai-edge-litert 2.3",
    ),
    KnownText(
        code="interpreter.view_alive",
        title="A view of a tensor is still in use",
        pattern=r"There is at least 1 reference to internal data",
        example="RuntimeError: There is at least 1 reference to internal data in the interpreter "
        "in the form of a numpy array or slice.",
        cause="interpreter.tensor() returned an array that shares the interpreter's memory, and "
        "it is still in use.",
        fix="Use get_tensor(), which copies, or delete the array before invoke().",
        source="measured",
    ),
    KnownText(
        code="interpreter.quantized_dimension",
        title="A tensor's scales belong to a dimension that it does not have",
        pattern=r"quantized_dimension must be in range",
        example="ValueError: quantized_dimension must be in range [0, 1). Was 3.Tensor 33 has "
        "invalid quantization parameters.",
        cause="The file was made for TensorFlow Lite Micro, or edited.",
        fix="Convert it again from the float model.",
        source="measured",
    ),
    KnownText(
        code="interpreter.variable",
        title="The model reads a variable that was never set",
        pattern=r"variable != nullptr was not true",
        example="RuntimeError: tensorflow/lite/kernels/read_variable.cc:67 variable != nullptr was "
        "not true.Node number 0 (READ_VARIABLE) failed to prepare.",
        cause="The Keras 3 model was converted with its variables outside the graph.",
        fix="Convert it with edgekit convert, which freezes them.",
        source="measured with tensorflow 2.21",
    ),
    KnownText(
        code="driver.gasket_build",
        title="The PCIe driver does not build for this kernel",
        pattern=r"'no_llseek' undeclared|too many arguments to function 'eventfd_signal'"
        r"|argument 1 of 'class_create'|MODULE_IMPORT_NS.{0,999}DMA_BUF",
        example="error: 'no_llseek' undeclared here (not in a function); did you mean "
        "'noop_llseek'?",
        cause="gasket-dkms 1.0-18 is from 2022; kernels 6.4, 6.8, 6.12 and 6.13 changed what it "
        "calls.",
        fix="Build a patched gasket driver from source for this kernel, or stay on an older one; "
        "edgekit doctor compares them.",
        source="google-coral/edgetpu issues 905, 866, 808; gasket-driver pull request 35",
    ),
)
