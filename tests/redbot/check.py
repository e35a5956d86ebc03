"""Has REDbot look at one URL: check.py URL prints what it finds wrong or doubtful, and ends with 1 if that is anything."""

import sys
from configparser import ConfigParser

import thor
from httplint.note import levels
from redbot.resource import HttpResource

config = ConfigParser()
config.read_dict({"redbot": {"enable_local_access": "True"}})
url = sys.argv[1]
resource = HttpResource(config["redbot"])
resource.set_request(url)


@thor.events.on(resource)
def check_done():
    thor.stop()


resource.check()
thor.run()
# REDbot also checks with requests of its own: a conditional one, one for compressed forms, one for a part of the body.
answers = [("", resource), *sorted(resource.subreqs.items())]
found = [
    f"{name + ': ' if name else ''}{note.level.value}: {note.summary}"
    for name, answer in answers
    for note in answer.response.notes
    if note.level in (levels.WARN, levels.BAD)
]
if not resource.response.complete:
    found.append("there was no whole answer")
print(f"{'NOT' if found else 'ok'} {resource.response.status_code_str} {url}")
for note in found:
    print(f"    {note}")
sys.exit(1 if found else 0)
