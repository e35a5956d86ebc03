"""Changes of figures at a steady rate: requests of random facilities, in batches of ten.

changes.py HOST:PORT CHANGES_A_SECOND SECONDS
"""
import datetime
import http.client
import json
import random
import sys
import time
import uuid

address, rate, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
client = http.client.HTTPConnection(address)
ids, path = [], "/v1/facilities?limit=500"
while path:
    client.request("GET", path)
    page = json.load(client.getresponse())
    ids += [item["facility_id"] for item in page["items"]]
    path = page["next_cursor"] and f"/v1/facilities?limit=500&cursor={page['next_cursor']}"

BATCH = 10
begin = time.monotonic()
sent = 0
while time.monotonic() < begin + seconds:
    now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    events = [
        {
            "specversion": "1.0", "id": str(uuid.uuid4()), "source": "/bench", "type": "request.set", "time": now,
            "data": {"request_id": str(uuid.uuid4()), "facility_id": random.choice(ids), "created_at": now, "blood_type": "O-"},
        }
        for _ in range(BATCH)
    ]
    client.request("POST", "/v1/events", json.dumps(events), {"Content-Type": "application/cloudevents-batch+json"})
    answer = client.getresponse()
    body = answer.read()
    if answer.status != 200:
        sys.exit(f"{answer.status}: {body[:300]}")
    sent += BATCH
    time.sleep(max(0, begin + sent / rate - time.monotonic()))
print(f"rate={sent / (time.monotonic() - begin):.0f}")
