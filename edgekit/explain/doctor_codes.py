# SPDX-License-Identifier: Apache-2.0
"""The codes of `edgekit doctor`: one for each check, what it checks and why it matters."""

from __future__ import annotations

from edgekit.edgetpu.issues import IssueCode

_RUN = "edgekit doctor prints the command for this machine."

DOCTOR_CODES = tuple(
    IssueCode(code, title, cause, fix, "edgekit doctor")
    for code, title, cause, fix in (
        (
            "python",
            "The Python that runs edgekit",
            "edgekit's device side needs Python 3.7 or newer, its host side 3.10. There are "
            "no wheels of the runtimes for a 32-bit Python on a 64-bit machine.",
            "Use a Python of the machine's own architecture, in a virtual environment.",
        ),
        (
            "installation",
            "The distribution that edgekit was installed as",
            "edgekit-coral contains all of edgekit, edgekit-coral-device the part for boards; "
            "the package index's edgekit is another project. Their files have the same names: if "
            "more than one is installed, the last one has replaced files of the others, and "
            "uninstalling one breaks the others.",
            "Uninstall all of them, then install one: edgekit doctor prints the command.",
        ),
        (
            "runtime",
            "The TensorFlow Lite runtimes that are installed",
            "One of ai-edge-litert, tflite-runtime and tensorflow must be installed to run a "
            "model; one that is installed but cannot be imported is shown with its error.",
            _RUN,
        ),
        (
            "numpy",
            "numpy, and whether the runtime works with it",
            "tflite-runtime up to 2.14 was built for numpy 1 and fails to import with numpy 2.",
            "pip install 'numpy<2'",
        ),
        (
            "pycoral",
            "Google's pycoral, or the other project of that name",
            "The name on the package index belongs to the Allen Coral Atlas; Google's wheels are "
            "elsewhere and exist only up to Python 3.9. edgekit needs neither.",
            "pip uninstall pycoral, if it is the other one",
        ),
        (
            "legacy",
            "Remnants of the Edge TPU Python library of 2019",
            "pycoral replaced python3-edgetpu, which installs its own runtime. That runtime can be "
            "loaded by mistake.",
            "sudo apt-get remove python3-edgetpu",
        ),
        (
            "library",
            "libedgetpu, which every program needs to use an Edge TPU",
            "libedgetpu.so.1 is the delegate that every runtime loads; it is a system package, not "
            "part of a Python wheel.",
            f"Install libedgetpu1-std. {_RUN}",
        ),
        (
            "library.architecture",
            "Whether libedgetpu is built for this machine",
            "A library for another processor, or for 32 bits in a 64-bit Python, does not load.",
            "Install the package of this machine's architecture.",
        ),
        (
            "library.version",
            "Which release of libedgetpu is installed",
            "The release determines which compiled models can run: a model states the lowest "
            "runtime version that it needs.",
            "Install a newer libedgetpu, or compile with --min-runtime-version.",
        ),
        (
            "library.pair",
            "Whether libedgetpu and the runtime fit together",
            "They exchange C structures that changed with TensorFlow 2.12; a pair of releases that "
            "are too far apart crashes with a segmentation fault.",
            f"Install a pair that works. {_RUN}",
        ),
        (
            "usb.device",
            "An Edge TPU on USB or PCIe",
            "The USB Accelerator has the id 1a6e:089a before its firmware is loaded and 18d1:9302 "
            "after; a container or virtual machine can use it only if both are passed in.",
            "Plug it in, try another port or cable; pass the whole USB bus to a container.",
        ),
        (
            "usb.speed",
            "The speed of the USB connection",
            "On USB 2 every transfer takes about ten times as long as on USB 3.",
            "Use a blue (USB 3) port and the cable that came with the device, without a hub.",
        ),
        (
            "usb.access",
            "Whether this user may open the USB device",
            "Without a udev rule only root may open it.",
            "Install the rules: edgekit doctor --print-udev",
        ),
        (
            "udev",
            "The udev rules for the Edge TPU",
            "They give the groups plugdev and apex access to the device, before and after its "
            "firmware is loaded.",
            "edgekit doctor --print-udev, or scripts/install-device.sh",
        ),
        (
            "groups",
            "The groups of this user",
            "The udev rules give access to plugdev (USB) and apex (PCIe); a new group is valid "
            "from the next login on.",
            "sudo usermod -aG plugdev,apex $USER, then log in again",
        ),
        (
            "pcie.device",
            "An Edge TPU on PCIe (M.2, mini PCIe, Dev Board)",
            "It has the id 1ac1:089a. A slot without a PCIe lane (many M.2 E-key slots) shows no "
            "device; a dual card in a slot with one lane shows only one.",
            "Check the slot's wiring, and that the card is seated.",
        ),
        (
            "pcie.driver",
            "The kernel modules gasket and apex",
            "They are distributed as source and built for each kernel; Google's package does not "
            "build on kernels 6.4 and later.",
            f"Install a gasket-dkms that builds for this kernel. {_RUN}",
        ),
        (
            "pcie.node",
            "The device node /dev/apex_0",
            "The driver creates it; without permission for this user the device cannot be opened.",
            "Load the driver, install the udev rules, join the group apex.",
        ),
        (
            "owner",
            "Which process uses the Edge TPU",
            "Only one process at a time may open it. Frigate or another program may use it.",
            "Stop the other program, or give it another Edge TPU.",
        ),
        (
            "temperature",
            "The temperature of a PCIe Edge TPU",
            "The chip slows down at about 85 degrees Celsius and stops above its trip points. USB "
            "devices do not have a sensor that can be read.",
            "Cool it: a heat sink, a fan, or a lower clock (libedgetpu1-std).",
        ),
        (
            "page_size",
            "The page size of a Raspberry Pi 5's kernel",
            "Its default kernel has pages of 16 KiB; the driver for PCIe needs 4 KiB.",
            "kernel=kernel8.img in /boot/firmware/config.txt, then restart",
        ),
        (
            "container",
            "The devices in a container",
            "A container can use only the devices that were passed to it.",
            "Pass /dev/bus/usb or /dev/apex_0 to it when it is started.",
        ),
        (
            "compiler",
            "Google's edgetpu_compiler",
            "It is needed to compile models, not to run them, and exists only for x86-64 Linux.",
            "edgekit compile shows how to get it on this platform.",
        ),
        (
            "inference.cpu",
            "An inference on the CPU, in a child process",
            "A small model runs and its outputs are compared: this finds a runtime that crashes or "
            "computes wrong outputs.",
            "Follow the message; reinstall the runtime.",
        ),
        (
            "inference.edgetpu",
            "The Edge TPU, opened in a child process",
            "The delegate is loaded and the device opened. A crash, a hang or a refusal is "
            "reported and does not stop the doctor.",
            "Follow the fix of the first failed check before it.",
        ),
        (
            "inference.model",
            "An inference of the model named with --model",
            "The model runs once on the device for which it was made.",
            "Follow the message.",
        ),
    )
)
