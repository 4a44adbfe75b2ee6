"""For child processes of tests: put this folder on PYTHONPATH and no connection leaves the machine. What was tried is
written to ``$P2M_TEST_NETWORK_LOG``, because code may swallow the error."""

import ipaddress
import os
import sys


def is_local(host):
    if host in (None, "", "localhost", b"localhost"):
        return True
    try:
        return ipaddress.ip_address(host.decode() if isinstance(host, bytes) else host).is_loopback
    except ValueError:
        return False


def watch(event, arguments):
    """An audit hook (PEP 578): it sees every socket that CPython opens, whatever library asks for it."""
    if event in ("socket.connect", "socket.sendto"):
        address = arguments[1]
        if not isinstance(address, tuple) or is_local(address[0]):
            return
        target = f"{address[0]}:{address[1]}"
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        if is_local(arguments[0]):
            return
        target = f"lookup of {arguments[0]}"
    else:
        return
    if log := os.environ.get("P2M_TEST_NETWORK_LOG"):
        with open(log, "a") as handle:
            handle.write(f"{target}\n")
    raise ConnectionRefusedError(f"tests reach no other host: {target}")


sys.addaudithook(watch)
