# SPDX-License-Identifier: Apache-2.0
"""The codes of edgekit's own errors: the meaning of ``code`` in ``edgekit.error/1``."""

from __future__ import annotations

from edgekit.edgetpu.issues import IssueCode

_OWN = "edgekit"

ERROR_CODES = tuple(
    IssueCode(code, title, cause, fix, _OWN)
    for code, title, cause, fix in (
        (
            "edgekit",
            "An expected failure without its own code",
            "Every error of edgekit states what happened, where and why.",
            "Follow its line 'fix'.",
        ),
        (
            "usage",
            "Arguments that contradict each other",
            "An option has an invalid value, or two options exclude each other. Exit status 2.",
            "edgekit COMMAND --help lists them.",
        ),
        (
            "input",
            "A file cannot be used",
            "It is missing, a folder, unreadable, empty, or of another kind. Exit status 3.",
            "Check the path and its permissions.",
        ),
        (
            "model.format",
            "The file is damaged or has another format",
            "It is not a .tflite file, is damaged or truncated, or contains indices and sizes that "
            "contradict each other. Exit status 3.",
            "Copy or convert it again; compare its size with the original.",
        ),
        (
            "model.unsupported",
            "A valid model that cannot be used for this command",
            "The network contains something that the converter or the Edge TPU does not support; "
            "the message names the operators. Exit status 3.",
            "Follow the message: replace the layer, fix the shape, or cut the network.",
        ),
        (
            "model.unsafe",
            "A model that would run code or access files when it is loaded",
            "The file contains Python code (a Lambda layer, a pickled module), names code or files "
            "outside itself, is two formats at once, or has operators that write files. The author "
            "of the file decides what would run. Exit status 3.",
            "Replace the layer by built-in ones and save the model again. If you trust the author "
            "of the file: --trust-source.",
        ),
        (
            "model.crash",
            "A model that crashes the process that runs it, or never ends",
            "TensorFlow Lite's kernels abort (SIGABRT, SIGSEGV, SIGFPE) on scales, zero points, "
            "shapes and options that they do not expect, or the model needs more memory than "
            "1.25 GiB. Some models of less than a million operations run for ever. edgekit first "
            "runs a new model once in a separate process, so that only "
            "that process crashes. Models that ran are recorded in XDG_CACHE_HOME/edgekit "
            "(~/.cache/edgekit). Exit status 3.",
            "edgekit inspect MODEL shows the scales and shapes; convert the model again, with "
            "calibration data like the real data.",
        ),
        (
            "model.emulation",
            "The emulator stops at something that is not proven",
            "The compiled program contains an instruction or field whose meaning is not proven "
            "with compiled models; to continue could silently give wrong values. The message "
            "names instruction, program counter and field. Exit status 3.",
            "Run the uncompiled model on the CPU, or the compiled one on an Edge TPU.",
        ),
        (
            "model.unproven",
            "The emulator is not proven on this program",
            "The compiled program has forms of instructions (fields, modes, counters, orders) that "
            "are in no program whose layers were compared with the model that was compiled, see "
            "[what the emulator is proven on](../proven.md). It could compute them wrongly. The "
            "message names the forms and the first instruction. Exit status 3.",
            "--unproven (unproven=True in Python) runs it all the same, and the result says so. "
            "--source MODEL compares the program with the model that was compiled: if all layers "
            "are equal, this program is proven. Or run it on an Edge TPU.",
        ),
        (
            "model.sync",
            "A compiled program breaks a rule of synchronization",
            "With --strict-sync the emulator compares what the program waits for with what "
            "arrives; here data would be read before it arrives, or two parts of memory overlap. "
            "Exit status 3.",
            "The file is damaged, or Google's compiler did not write it.",
        ),
        (
            "quant",
            "A value or range that integers cannot represent",
            "A scale is zero, infinite or not a number, or the data contains NaN. Exit status 3.",
            "Find the operator that computes such values in the float model; clean the data.",
        ),
        (
            "data",
            "Data that cannot be used",
            "The samples are missing, unreadable, or do not fit the model's inputs. Exit status 3.",
            "Give a folder of images, an .npz or .npy, or package.module:function.",
        ),
        (
            "bundle",
            "A bundle that is damaged",
            "A part is missing or its hash differs from the manifest's. Exit status 3.",
            "Create the bundle again: edgekit bundle.",
        ),
        (
            "output",
            "A result could not be written",
            "The folder is missing, read-only or full. A file that was there before is "
            "unchanged. Exit status 3.",
            "Name a folder that exists, is writable and has room (-o).",
        ),
        (
            "gate",
            "A gate was not met",
            "The run succeeded, but the result does not meet the gate: fewer operators map, the "
            "accuracy drops more, or the latency is higher than allowed. Exit status 4.",
            "Change the model, or the gate.",
        ),
        (
            "gate.min_mapped",
            "Too few operators map to the Edge TPU",
            "The share of operators that map is below --min-mapped. Exit status 4.",
            "Change the first blocker that the report names (edgekit check, edgekit fix), or lower "
            "the gate.",
        ),
        (
            "tool",
            "A program outside edgekit failed",
            "It does not exist, may not be run, crashed, or took too long. Exit status 5.",
            "Run the command in the message on its own.",
        ),
        (
            "tool.missing",
            "An optional Python package is not installed",
            "The command needs TensorFlow, an interpreter, or an ssh library. Exit status 5.",
            "Run the command in the message; it installs what is missing.",
        ),
        (
            "tool.broken",
            "A library is installed but cannot be loaded",
            "It was built for another numpy or Python, or a shared library that it needs is "
            "missing: numpy 2 with tflite-runtime is the usual pair. Exit status 5.",
            "edgekit doctor shows what does not fit together; below Python 3.10: "
            "pip install 'numpy<2'.",
        ),
        (
            "device",
            "No usable Edge TPU",
            "No device is connected, this user may not open it, or its library crashed, hung or "
            "refused when a child process tried it; the message names the step. Exit status 6.",
            "edgekit doctor finds the reason. --fallback runs the plain model on the CPU.",
        ),
        (
            "device.hung",
            "The Edge TPU does not respond",
            "Loading the library, opening the device, an inference or closing it took longer than "
            "--timeout-sec. With this option the device is used in a child process, which is ended "
            "then: nothing of the command holds the device, but it may not respond to the next "
            "command either. Exit status 6; if it hangs only when it is closed, the result is "
            "printed with a warning.",
            "Unplug the device and plug it in again (PCIe: restart the machine), use a powered "
            "port, run edgekit doctor; give a slow model a longer --timeout-sec.",
        ),
        (
            "device.lost",
            "The Edge TPU was lost during the run",
            "It was unplugged, reset, or lost its power. With --recover it is opened again and the "
            "run continues; this error means that --recover was not given, or did not help. Exit "
            "status 6.",
            "Replug it, use a powered port, give --recover, and run edgekit doctor.",
        ),
        (
            "compiler.missing",
            "edgetpu_compiler is not installed",
            "Google's compiler is not part of edgekit, and edgekit may not download it. It exists "
            "only for x86-64 Linux. Exit status 5.",
            "Compile with edgekit's own compiler: --compiler edgekit. Or install Google's "
            "(coral.ai/docs/edgetpu/compiler), name it (--compiler PATH, EDGETPU_COMPILER), or run "
            "it elsewhere: --via ssh://user@host or --via docker:IMAGE.",
        ),
        (
            "compiler.refused",
            "edgekit's own compiler cannot compile the model",
            "The model is float, none of its operators maps, its activations do not fit into the "
            "chip's memory in any way that the compiler tries, or the emulator cannot execute the "
            "program and so cannot verify it. The message states which. Nothing was written. Exit "
            "status 3.",
            "edgekit check MODEL shows what to change. Google's compiler may take the model: "
            "--compiler google.",
        ),
        (
            "compiler.unseen",
            "The program has instructions of a form that none of Google's programs has",
            "Without a compiler of Google's, --compiler auto writes only programs whose forms of "
            "instructions, level patterns and orders occur in programs of Google's compiler, "
            "because chips are known to execute these. The emulator executes the others too. "
            "Nothing was written. Exit status 3.",
            "Write the program all the same with --compiler edgekit. With an Edge TPU, edgekit "
            "confirm can confirm such forms.",
        ),
        (
            "confirm.no_chip",
            "A report of edgekit confirm that is not evidence",
            "Evidence needs a chip. The report says that software ran the programs, that the "
            "library is not a build of libedgetpu, or that the machine did not list an Edge TPU "
            "on USB or PCIe. Exit status 3.",
            "Run edgekit confirm on a machine with an Edge TPU, without --device emulator.",
        ),
        (
            "confirm.other_version",
            "A report of edgekit confirm about other programs",
            "edgekit confirm --import makes the programs again and compares their hashes. This "
            "version of edgekit makes none of the report's programs, or this machine's numpy "
            "computes other constants. Exit status 3.",
            "Import it with the version that made it (edgekit in the report), or let the owner run "
            "this version.",
        ),
        (
            "confirm.report",
            "A file that is not a report of edgekit confirm",
            "It is not JSON, has another schema than edgekit.confirm/1, or lacks a member. Exit "
            "status 3.",
            "Name the file that edgekit confirm wrote: edgekit-confirm.json.",
        ),
        (
            "confirm.seal",
            "A report of edgekit confirm that was changed",
            "The seal, a SHA-256 of everything else in the document, or the signature is not that "
            "of the content: the file was damaged or edited. Exit status 3.",
            "Get the file again from its owner, unchanged.",
        ),
        (
            "confirm.signature",
            "A report of edgekit confirm without the expected signature",
            "With --verify-key, every report has to be signed by the owner of that key. Exit "
            "status 3.",
            "The owner signs with edgekit confirm --sign KEY; without --verify-key, reports of "
            "everyone are imported.",
        ),
        (
            "compiler.verification",
            "edgekit's own compiler made a wrong program",
            "The emulator executed the program, and a value differed from the model's arithmetic, "
            "or an instruction did not wait for what it needs. This is a fault of edgekit. Nothing "
            "was written. Exit status 3.",
            "Report it with the model. --compiler google compiles it with Google's program.",
        ),
        (
            "compiler.failed",
            "edgetpu_compiler failed with an unknown message",
            "It ended without a compiled model. The message shows its last lines. Exit status 5.",
            "Run the command on its own, and report the lines.",
        ),
        (
            "compiler.log",
            "edgetpu_compiler printed an unknown line",
            "A guess about a log could give wrong numbers, so an unknown line stops the run. "
            "Nothing was written. Exit status 5.",
            "Report the line. To get the model without edgekit, run the command on its own.",
        ),
        (
            "compiler.damaged_output",
            "edgetpu_compiler wrote a file that is not a whole model",
            "It reported success, but its output is missing, truncated or does not match its log. "
            "Nothing was written. Exit status 5.",
            "Check whether the disk of the machine where it ran is full, and compile again.",
        ),
        (
            "compiler.deadline",
            "edgetpu_compiler took too long",
            "The deadline passed, and edgekit ended the compiler and its child processes. Nothing "
            "was written. Exit status 5.",
            "Raise --deadline-sec, make the input smaller, or search with larger steps "
            "(--delegate-search-step).",
        ),
        (
            "compiler.remote",
            "The other machine or the container could not be used",
            "The connection, its host key, the login, the transfer of files or the container's "
            "engine failed. Exit status 5.",
            "Try ssh user@host or docker run IMAGE on its own.",
        ),
        (
            "ssh.unreachable",
            "Another machine cannot be reached over ssh",
            "Its name is not known, its port does not respond, or the connection was lost. Exit "
            "status 5.",
            "Try it on its own: ssh user@host true. After a lost connection run the command again: "
            "deploy continues where it stopped.",
        ),
        (
            "ssh.host_key",
            "The other machine's key is not the known one",
            "Its key is not in known_hosts, or a different key is there: it may be another "
            "machine. This check cannot be disabled. Exit status 5.",
            "Log in once with ssh user@host and compare the fingerprint with the one on the board "
            "(ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub).",
        ),
        (
            "ssh.login",
            "The other machine refuses the login",
            "It does not accept any key in ~/.ssh or ssh-agent. edgekit never asks for passwords. "
            "Exit status 5.",
            "Copy a key to it: ssh-copy-id user@host; for a Dev Board: mdt pushkey.",
        ),
        (
            "deploy.python",
            "No usable Python on the board",
            "There is no such program there, it is older than 3.7, or it fails to start. Exit "
            "status 5.",
            "Name the board's Python: --python PATH.",
        ),
        (
            "deploy.missing",
            "edgekit is not on the board",
            "None of the board's Pythons that were checked has it. Exit status 5.",
            "edgekit deploy --install WHEEL_DIR, with a folder of wheels; or "
            "scripts/install-device.sh on the board.",
        ),
        (
            "deploy.install",
            "edgekit could not be installed on the board",
            "The virtual environment could not be created, or pip did not find all packages "
            "among the wheels. Nothing is downloaded from the internet there. Exit status 5.",
            "Put the missing wheels, for the board's Python and machine, into WHEEL_DIR; "
            "python3-venv must be installed on the board.",
        ),
        (
            "deploy.copy",
            "The files could not be written on the board",
            "Its disk is full or read-only, or the folder belongs to another user. Files that were "
            "there before are unchanged. Exit status 5.",
            "Free some space there, or name another folder: --folder.",
        ),
        (
            "deploy.remote",
            "edgekit on the board ended without a result",
            "It crashed, or it is another version without one of the options. Exit status 5.",
            "Run the command in the message there on its own; install the same edgekit there: "
            "--install WHEEL_DIR.",
        ),
    )
)
