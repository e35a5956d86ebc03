"""prepare.py LOG PID: waits until the service is ready, registers the facilities of
schemathesis.toml, and prints the service's address."""

import json
import os
import sys
import time
import tomllib
import urllib.error
import urllib.request
from pathlib import Path

log, pid = Path(sys.argv[1]), int(sys.argv[2])
deadline = time.monotonic() + 30


def wait_for(what, attempt):
    while (found := attempt()) is None:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            sys.exit("the service ended early")
        if time.monotonic() > deadline:
            sys.exit(f"gave up waiting for {what}")
        time.sleep(0.05)
    return found


def address():
    for line in log.read_text(errors="replace").splitlines():
        try:
            fields = json.loads(line)["fields"]
        except (ValueError, KeyError, TypeError):
            continue  # half a line, or a line of another program
        if fields.get("message") == "listening":
            return fields["address"]
    return None


def call(method, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    if credential := os.environ.get("CREDENTIAL"):
        headers["Authorization"] = f"Bearer {credential}"
    request = urllib.request.Request(base + path, data, headers, method=method)
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as answer:
        return answer.read()


def ready():
    try:
        return call("GET", "/health/ready")
    except (urllib.error.URLError, OSError):
        return None


def event(kind, data):
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return {"specversion": "1.0", "id": f"{kind}-{data}", "source": "/schemathesis", "type": kind, "time": now, "data": data}


host_and_port = wait_for("the service to listen", address)
base = f"http://{host_and_port}"
wait_for("/health/ready", ready)

settings = tomllib.loads(Path(__file__).with_name("schemathesis.toml").read_text())
for number, facility in enumerate(settings["dictionaries"]["facilities"]["values"]):
    bank = facility.replace("-7000-", "-7001-")
    call("PUT", f"/v1/facilities/{facility}", {"name": f"Facility {number}", "timezone": "Europe/Warsaw"})
    call("PUT", f"/v1/blood-banks/{bank}", {"facility_id": facility, "name": f"Bank {number}"})
    stock = {"inventory_id": bank, "blood_bank_id": bank, "blood_type": "O+", "quantity": 12}
    call("POST", "/v1/events", event("inventory.set", stock))
print(host_and_port)
