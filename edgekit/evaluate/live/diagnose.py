# SPDX-License-Identifier: Apache-2.0
"""Find out why nothing can be read at an address: OpenCV does not say."""

from __future__ import annotations

import socket
import ssl
import urllib.error
import urllib.request
from urllib.parse import urlsplit

_PORTS = {"http": 80, "https": 443, "rtsp": 554, "rtsps": 322}
_NO_VIDEO = "and nothing that can be read as video"


def why_not_an_address(address: str, timeout_s: float) -> str:
    """Return what a connection to ``address`` ends with, in one line without the password."""
    parts = urlsplit(address)
    place = (parts.hostname or "", parts.port or _PORTS[parts.scheme.lower()])
    try:
        with socket.create_connection(place, timeout_s) as connection:
            if parts.scheme.lower() == "rtsp":
                return _rtsp_answer(connection, address)
        if parts.scheme.lower() == "rtsps":
            return f"{parts.hostname} accepts connections, {_NO_VIDEO} came"
        return _http_answer(address, timeout_s)
    except socket.gaierror:
        return f"there is no computer called {parts.hostname}"
    except ConnectionRefusedError:
        return f"no program listens on port {place[1]} of {place[0]}"
    except socket.timeout:
        return f"{parts.hostname} does not answer within {timeout_s:g} s"
    except (OSError, ValueError) as error:
        return getattr(error, "strerror", None) or str(error) or "the connection was closed"


def _rtsp_answer(connection: socket.socket, address: str) -> str:
    """Return the first line that the server answers to DESCRIBE (RFC 2326, 10.2)."""
    plain = _without_user(address)
    connection.sendall(f"DESCRIBE {plain} RTSP/1.0\r\nCSeq: 1\r\n\r\n".encode())
    line = connection.recv(256).partition(b"\r\n")[0].decode("ascii", "replace").strip()
    if not line.startswith("RTSP/"):
        return "the server does not answer as an RTSP server does"
    if " 401 " in f"{line} ":
        return "the server wants another user and password: rtsp://USER:PASSWORD@..."
    return f"the server answers {line}" + (f", {_NO_VIDEO}" if " 200" in line else "")


def _http_answer(address: str, timeout_s: float) -> str:
    """Return the status or the kind of content that a web server answers with."""
    request = urllib.request.Request(_without_user(address))  # noqa: S310 - the scheme was checked
    context = ssl.create_default_context()
    try:
        with urllib.request.urlopen(request, timeout=timeout_s, context=context) as answer:  # noqa: S310 - as above
            return f"the server answers {answer.headers.get_content_type()}, {_NO_VIDEO}"
    except urllib.error.HTTPError as error:
        if error.code == 401:
            return "the server wants another user and password: http://USER:PASSWORD@..."
        return f"the server answers {error.code} {error.reason}"
    except urllib.error.URLError as error:
        return f"the server cannot be read: {error.reason}"


def _without_user(address: str) -> str:
    parts = urlsplit(address)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
