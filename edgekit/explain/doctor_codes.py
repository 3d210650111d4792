# SPDX-License-Identifier: Apache-2.0
"""The codes of `edgekit doctor`: one a check, what it looks at and why it matters."""

from __future__ import annotations

from edgekit.edgetpu.issues import IssueCode

_RUN = "edgekit doctor prints the command for this machine."

DOCTOR_CODES = tuple(
    IssueCode(code, title, cause, fix, "edgekit doctor")
    for code, title, cause, fix in (
        (
            "python",
            "The Python that runs edgekit",
            "edgekit's device side needs Python 3.7 or newer, its host side 3.10. A 32-bit Python "
            "on a 64-bit machine finds no wheels of the runtimes.",
            "Use a Python of the machine's own architecture, in a virtual environment.",
        ),
        (
            "installation",
            "The distribution that edgekit was installed as",
            "edgekit-coral holds all of edgekit, edgekit-coral-device what a board needs; the "
            "package index's edgekit is another project. The files have the same names: where more "
            "than one of them is installed, the last one wrote over the others, and uninstalling "
            "one breaks the rest.",
            "Uninstall all of them, then install one: edgekit doctor prints the command.",
        ),
        (
            "runtime",
            "The TensorFlow Lite runtimes that are installed",
            "One of ai-edge-litert, tflite-runtime and tensorflow has to be there to run a model; "
            "one that is installed and fails to import is shown with its own error.",
            _RUN,
        ),
        (
            "numpy",
            "numpy, and whether the runtime can work with it",
            "tflite-runtime up to 2.14 was built for numpy 1 and fails to import with numpy 2.",
            "pip install 'numpy<2'",
        ),
        (
            "pycoral",
            "Google's pycoral, or the other project of that name",
            "The name on the package index belongs to the Allen Coral Atlas; Google's wheels are "
            "elsewhere and end at Python 3.9. edgekit needs neither.",
            "pip uninstall pycoral, if it is the other one",
        ),
        (
            "legacy",
            "Remnants of the Edge TPU Python library of 2019",
            "python3-edgetpu was replaced by pycoral and brings a runtime of its own that gets in "
            "the way.",
            "sudo apt-get remove python3-edgetpu",
        ),
        (
            "library",
            "libedgetpu, without which no program talks to an Edge TPU",
            "libedgetpu.so.1 is the delegate that every runtime loads; it is a system package and "
            "part of no Python wheel.",
            f"Install libedgetpu1-std. {_RUN}",
        ),
        (
            "library.architecture",
            "Whether libedgetpu is made for this machine",
            "A library for another processor, or for 32 bits in a 64-bit Python, does not load.",
            "Install the package of this machine's architecture.",
        ),
        (
            "library.version",
            "Which release of libedgetpu is installed",
            "It decides which compiled models can be run: a model says which runtime version it "
            "needs at least.",
            "Install a newer libedgetpu, or compile with --min-runtime-version.",
        ),
        (
            "library.pair",
            "Whether libedgetpu and the runtime go together",
            "They hand each other C structures that changed with TensorFlow 2.12; a pair from "
            "releases too far apart ends in a segmentation fault.",
            f"Install a pair that works. {_RUN}",
        ),
        (
            "usb.device",
            "An Edge TPU on USB or PCIe",
            "The USB Accelerator is 1a6e:089a before its firmware is loaded and 18d1:9302 after; "
            "a container or virtual machine sees it only where both are handed in.",
            "Plug it in, try another port or cable; hand the whole USB bus to a container.",
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
            "Without a udev rule only root may.",
            "Install the rules: edgekit doctor --print-udev",
        ),
        (
            "udev",
            "The udev rules for the Edge TPU",
            "They give the groups plugdev and apex the device, before and after its firmware.",
            "edgekit doctor --print-udev, or scripts/install-device.sh",
        ),
        (
            "groups",
            "The groups of this user",
            "The udev rules give the device to plugdev (USB) and apex (PCIe); a new group counts "
            "from the next login on.",
            "sudo usermod -aG plugdev,apex $USER, then log in again",
        ),
        (
            "pcie.device",
            "An Edge TPU on PCIe (M.2, mini PCIe, Dev Board)",
            "It shows as 1ac1:089a. A slot without a PCIe lane (many M.2 E-key slots), or a dual "
            "card in a slot with one lane, shows none or one.",
            "Check the slot's wiring, and that the card is seated.",
        ),
        (
            "pcie.driver",
            "The kernel modules gasket and apex",
            "They come as source and are built for each kernel; Google's package fails to build on "
            "kernels from 6.4 on.",
            f"Install a gasket-dkms that builds for this kernel. {_RUN}",
        ),
        (
            "pcie.node",
            "The device node /dev/apex_0",
            "The driver makes it; without permission for this user the device cannot be opened.",
            "Load the driver, install the udev rules, join the group apex.",
        ),
        (
            "owner",
            "Who holds the Edge TPU",
            "One process at a time may open it. Frigate or another program may have it.",
            "Stop the other program, or give it another Edge TPU.",
        ),
        (
            "temperature",
            "The temperature of a PCIe Edge TPU",
            "The chip slows down from about 85 degrees Celsius on and stops above its trip points. "
            "USB devices have no sensor that can be read.",
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
            "What a container was given",
            "A container sees only the devices that it was given.",
            "Hand in /dev/bus/usb or /dev/apex_0 when it is started.",
        ),
        (
            "compiler",
            "Google's edgetpu_compiler",
            "It is needed to compile models, not to run them, and exists for x86-64 Linux only.",
            "edgekit compile says how to get it on this platform.",
        ),
        (
            "inference.cpu",
            "An inference on the CPU, in a child process",
            "A small model runs and its answer is compared: a runtime that crashes or answers "
            "wrongly is found here.",
            "Follow the message; reinstall the runtime.",
        ),
        (
            "inference.edgetpu",
            "The Edge TPU, opened in a child process",
            "The delegate is loaded and the device opened: a crash, a hang or a refusal is an "
            "answer here and does not take the doctor down.",
            "Follow the first check before it that failed.",
        ),
        (
            "inference.model",
            "An inference of the model named with --model",
            "The model runs once on the device that it is for.",
            "Follow the message.",
        ),
    )
)
