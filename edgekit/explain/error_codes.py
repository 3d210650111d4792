# SPDX-License-Identifier: Apache-2.0
"""The codes of edgekit's own errors: what ``code`` in ``edgekit.error/1`` means."""

from __future__ import annotations

from edgekit.edgetpu.issues import IssueCode

_OWN = "edgekit"

ERROR_CODES = tuple(
    IssueCode(code, title, cause, fix, _OWN)
    for code, title, cause, fix in (
        (
            "edgekit",
            "An expected failure without a code of its own",
            "Every error of edgekit says what happened, where and why.",
            "Follow its line 'fix'.",
        ),
        (
            "usage",
            "Arguments that contradict each other",
            "An option has a value that does not exist, or two options exclude each other. Exit "
            "status 2.",
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
            "The file is not the model that it claims to be",
            "It is no .tflite file, or a damaged or truncated one, or holds indices and sizes that "
            "contradict each other. Exit status 3.",
            "Copy or convert it again; compare its size with the original.",
        ),
        (
            "model.unsupported",
            "A valid model that cannot become what was asked for",
            "The network holds what the converter or the Edge TPU has no form for; the message "
            "names the operations. Exit status 3.",
            "Follow the message: replace the layer, fix the shape, or cut the network.",
        ),
        (
            "model.unsafe",
            "A model whose loading would run code or touch files",
            "The file carries Python code (a Lambda layer, a pickled module), names code or files "
            "outside itself, is two formats at once, or has operations that write files. Whoever "
            "made the file chose what would run. Exit status 3.",
            "Replace the layer by built-in ones and save the model again. If you trust whoever "
            "made the file: --trust-source.",
        ),
        (
            "model.crash",
            "A model that crashes the process that runs it",
            "TensorFlow Lite's kernels abort (SIGABRT, SIGSEGV, SIGFPE) on scales, zero points, "
            "shapes and options that they do not expect, or the model needs more memory than "
            "1.25 GiB. edgekit loads and runs a model that it does not know once in a process of "
            "its own, so that only that process dies. Models that ran are noted in "
            "XDG_CACHE_HOME/edgekit (~/.cache/edgekit). Exit status 3.",
            "edgekit inspect MODEL shows the scales and shapes; convert the model again, with "
            "calibration data like the real data.",
        ),
        (
            "model.emulation",
            "The emulator stops at something that is not proven",
            "The compiled program holds an instruction or field whose meaning was not established "
            "on compiled models; going on could give wrong values in silence. The message names "
            "instruction, program counter and field. Exit status 3.",
            "Run the uncompiled model on the CPU, or the compiled one on an Edge TPU.",
        ),
        (
            "model.sync",
            "A compiled program breaks a rule of synchronization",
            "With --strict-sync the emulator counts what is waited for and what arrives; here data "
            "would be read before it is there, or two parts of memory overlap. Exit status 3.",
            "The file is damaged, or it was not made by Google's compiler.",
        ),
        (
            "quant",
            "A value or range that integers cannot represent",
            "A scale is zero, infinite or not a number, or the data holds NaN. Exit status 3.",
            "Look for the operation that makes such values in the float model; clean the data.",
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
            "Make the bundle again: edgekit bundle.",
        ),
        (
            "output",
            "A result could not be written",
            "The folder is missing, read-only or full. What stood there before is untouched. Exit "
            "status 3.",
            "Name a folder that exists, is writable and has room (-o).",
        ),
        (
            "gate",
            "A gate was not met",
            "The run was fine and its answer is no: fewer operations map, the accuracy drops more, "
            "or the latency is higher than the gate allows. Exit status 4.",
            "Change the model, or the gate.",
        ),
        (
            "gate.min_mapped",
            "Too few operations map to the Edge TPU",
            "The share of operations that map is below --min-mapped. Exit status 4.",
            "Follow the first blocker that the report names (edgekit check, edgekit fix), or lower "
            "the gate.",
        ),
        (
            "tool",
            "A program outside edgekit failed",
            "It does not exist, may not be run, crashed, or took too long. Exit status 5.",
            "Run the command that the message shows by itself.",
        ),
        (
            "tool.missing",
            "An optional Python package is not installed",
            "The command needs TensorFlow, an interpreter, or an ssh library. Exit status 5.",
            "Run the command that the message shows; it installs what this edgekit lacks.",
        ),
        (
            "tool.broken",
            "A library is installed and cannot be loaded",
            "It was built for another numpy or Python, or a shared library that it needs is "
            "missing: numpy 2 with tflite-runtime is the usual pair. Exit status 5.",
            "edgekit doctor says what does not fit together; below Python 3.10: "
            "pip install 'numpy<2'.",
        ),
        (
            "device",
            "No usable Edge TPU",
            "No device is connected, it may not be used, or its library crashed, hung or refused "
            "when a child process tried it; the message says at which step. Exit status 6.",
            "edgekit doctor finds out which. --fallback runs the plain model on the CPU.",
        ),
        (
            "device.hung",
            "The Edge TPU does not answer",
            "Opening the device, or an inference, took longer than --timeout-sec. Its library "
            "cannot be stopped from inside the process: the command ends without closing the "
            "device, which may not answer the next command either. Exit status 6.",
            "Unplug the device and plug it in again (PCIe: restart the machine), use a powered "
            "port, run edgekit doctor; give a slow model a longer --timeout-sec.",
        ),
        (
            "device.lost",
            "The Edge TPU went away during the run",
            "It was unplugged, reset, or lost its power. With --recover it is opened again and the "
            "run goes on; this is said where that was not asked for, or it stays away. Exit "
            "status 6.",
            "Replug it, use a powered port, give --recover, and run edgekit doctor.",
        ),
        (
            "compiler.missing",
            "edgetpu_compiler is not here",
            "Google's compiler is not part of edgekit, and edgekit may not download it. It exists "
            "for x86-64 Linux only. Exit status 5.",
            "Install it (coral.ai/docs/edgetpu/compiler), name it (--compiler, EDGETPU_COMPILER), "
            "or run it elsewhere: --via ssh://user@host or --via docker:IMAGE.",
        ),
        (
            "compiler.failed",
            "edgetpu_compiler failed in words that edgekit does not know",
            "It ended without a compiled model. The message shows its last lines. Exit status 5.",
            "Run the command by itself, and report the lines.",
        ),
        (
            "compiler.log",
            "edgetpu_compiler printed a line that edgekit does not know",
            "Guessing what a log says would give wrong numbers, so an unknown line stops the run. "
            "Nothing was written. Exit status 5.",
            "Report the line. To get the model all the same, run the command by itself.",
        ),
        (
            "compiler.damaged_output",
            "edgetpu_compiler left a file that is no whole model",
            "It reported success, and its output is missing, truncated or not what its log says. "
            "Nothing was written. Exit status 5.",
            "Look for a full disk where it ran, and compile again.",
        ),
        (
            "compiler.deadline",
            "edgetpu_compiler took too long",
            "The deadline was over and the compiler with all its children was ended. Nothing was "
            "written. Exit status 5.",
            "Raise --deadline-sec, make the input smaller, or search with larger steps "
            "(--delegate-search-step).",
        ),
        (
            "compiler.remote",
            "The other machine or the container could not be used",
            "The connection, its host key, the login, the transfer of files or the container's "
            "engine failed. Exit status 5.",
            "Try ssh user@host or docker run IMAGE by itself.",
        ),
        (
            "ssh.unreachable",
            "Another machine cannot be reached over ssh",
            "Its name is not known, nobody answers at the port, or the connection was lost. Exit "
            "status 5.",
            "Try it by itself: ssh user@host true. After a lost connection run the command again: "
            "deploy goes on where it was.",
        ),
        (
            "ssh.host_key",
            "The other machine's key is not the one that is known",
            "It is not in known_hosts, or another one is: it may be another machine. This check "
            "cannot be switched off. Exit status 5.",
            "Log in once with ssh user@host and compare the fingerprint with the one on the board "
            "(ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub).",
        ),
        (
            "ssh.login",
            "The other machine lets nobody in",
            "It takes none of the keys in ~/.ssh and ssh-agent. Passwords are never asked for. "
            "Exit status 5.",
            "Put a key there: ssh-copy-id user@host; a Dev Board takes one with mdt pushkey.",
        ),
        (
            "deploy.python",
            "No usable Python on the board",
            "There is no such program there, it is older than 3.7, or it fails at once. Exit "
            "status 5.",
            "Name the board's Python: --python PATH.",
        ),
        (
            "deploy.missing",
            "edgekit is not on the board",
            "None of the board's Pythons that were looked at has it. Exit status 5.",
            "edgekit deploy --install WHEEL_DIR, with a folder of wheels; or scripts/install- "
            "device.sh on the board.",
        ),
        (
            "deploy.install",
            "edgekit could not be installed on the board",
            "The virtual environment could not be made, or pip found not all that is needed among "
            "the wheels. Nothing is fetched from the internet there. Exit status 5.",
            "Put the missing wheels, for the board's Python and machine, into WHEEL_DIR; "
            "python3-venv has to be on the board.",
        ),
        (
            "deploy.copy",
            "The board could not take the files",
            "Its disk is full or read-only, or the folder was made by somebody else. What was "
            "there before is untouched. Exit status 5.",
            "Make room there, or name another folder: --folder.",
        ),
        (
            "deploy.remote",
            "edgekit on the board ended without an answer",
            "It crashed, or another version of it does not know an option. Exit status 5.",
            "Run the command of the message there by itself; install the same edgekit there: "
            "--install WHEEL_DIR.",
        ),
    )
)
