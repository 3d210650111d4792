# SPDX-License-Identifier: Apache-2.0
"""Which program printed an unknown line, and at which layer it works."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Iterable

from edgekit.result import Result

DEVICE, DRIVER, COMPILER = "device", "driver", "compiler"
CONVERTER, INTERPRETER, APPLICATION = "converter", "interpreter", "application"
INSTALLATION, SYSTEM = "installation", "system"

# The first that matches is taken: special ones come before general ones.
_ORIGINS = tuple(
    (re.compile(pattern), program, layer)
    for pattern, program, layer in (
        (
            r"\b(?:apex|gasket)[ _:]|gasket_\w+\.c\b|/dev/apex",
            "the kernel driver gasket/apex",
            DRIVER,
        ),
        (r"\bdkms\b|/lib/modules/|modprobe|insmod", "dkms or modprobe", DRIVER),
        (r"pcieport|\bpci(?:e)? [0-9a-f]{4}:|AER:", "the kernel's PCIe code", DRIVER),
        (r"\busb \d+-[\d.]+:|xhci_hcd|uvcvideo", "the kernel's USB code", DRIVER),
        (r"edgetpu_compiler|Edge TPU Compiler|intermediate_tensors", "edgetpu_compiler", COMPILER),
        (
            r"driver/(?:usb|kernel|mmio|beagle|package)\w*|platforms::darwinn|darwinn|UsbDriver|"
            r"LibUsb|libedgetpu|edgetpu\.dll|EdgeTpuDelegate",
            "libedgetpu",
            DEVICE,
        ),
        (r"libusb", "libusb", DEVICE),
        (
            r"tensorflow/compiler|\bmlir\b|loc\(|'tfl?\.\w+' op|TFLiteConverter|toco",
            "TensorFlow's converter",
            CONVERTER,
        ),
        (r"lite/(?:tools|toco)/optimize|calibrat|[Qq]uantiz", "TensorFlow's quantizer", CONVERTER),
        (r"onnx2tf", "onnx2tf", CONVERTER),
        (r"ai_edge_torch|litert_torch|torch\.export|torch/_dynamo", "litert-torch", CONVERTER),
        (r"\bonnx\b|\[ONNXRuntimeError\]|onnxruntime", "ONNX", CONVERTER),
        (r"ultralytics", "Ultralytics", CONVERTER),
        (r"\bkeras\b|\bKeras\b", "Keras", CONVERTER),
        (
            r"lite/(?:kernels|core|c|python|interpreter)|tflite_runtime|ai_edge_litert|TfLite|"
            r"Node number \d+|XNNPACK|lite/delegates",
            "the TensorFlow Lite interpreter",
            INTERPRETER,
        ),
        (r"pycoral|_pywrap_coral|/coral/\w+\.cc", "pycoral", APPLICATION),
        (r"edgetpu[./](?:basic|detection|classification|swig)", "the old edgetpu API", APPLICATION),
        (r"frigate", "Frigate", APPLICATION),
        (r"scrypted", "Scrypted", APPLICATION),
        (r"objectdetection_coral|CodeProject", "CodeProject.AI", APPLICATION),
        (r"doods", "DOODS", APPLICATION),
        (r"viseron", "Viseron", APPLICATION),
        (r"homeassistant|custom_components|supervisor", "Home Assistant", APPLICATION),
        (r"^(?:E|W|N|Err|Ign): |^dpkg|unmet dependencies|apt-get", "apt or dpkg", INSTALLATION),
        (r"\bpip\b|\.whl\b|Requirement|matching distribution|setup\.py", "pip", INSTALLATION),
        (r"\bdocker\b|OCI runtime|containerd", "the container's runtime", SYSTEM),
        (r"systemd|udevd", "systemd", SYSTEM),
        (r"\.so\b|\.dylib|\.dll|GLIBC|ld-linux|dlopen", "the dynamic loader", SYSTEM),
        (
            r"^Traceback|^\s*File \"|^\w+(?:\.\w+)*(?:Error|Exception)\b",
            "a Python program",
            APPLICATION,
        ),
        (r"^\[?\s*\d+\.\d+\]|\bkernel:", "the Linux kernel", SYSTEM),
    )
)

_MOST_LINES = 1000  # the lines after these are not looked at one by one


@dataclass(frozen=True)
class Origin(Result):
    """What can be said of unknown lines; ``program`` is empty if nothing can."""

    program: str
    layer: str
    lines: tuple[str, ...]


def origins(lines: Iterable[str], text: str) -> tuple[Origin, ...]:
    """Group unknown lines by the program that printed them, by its words.

    Args:
        lines: The unknown lines.
        text: The whole text; if a line says nothing, the program of a traceback in it is taken.
    """
    grouped: dict[tuple[str, str], list[str]] = {}
    around = origin_of("\n".join(re.findall(r"^\s*File \".*", text[-100_000:], re.MULTILINE)[-3:]))
    for index, line in enumerate(lines):
        found = origin_of(line) if index < _MOST_LINES else ("", "")
        if found[0] in ("", "a Python program") and around[0]:
            found = around
        grouped.setdefault(found, []).append(line)
    return tuple(Origin(*key, tuple(each)) for key, each in grouped.items())


def origin_of(text: str) -> tuple[str, str]:
    """Return (program, layer) of a text by its words; empty strings if they say nothing."""
    for pattern, program, layer in _ORIGINS:
        if pattern.search(text):
            return program, layer
    return "", ""
