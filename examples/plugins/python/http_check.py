"""http-check: asks a web address and says whether the answer has the status that is wanted."""

import json
import urllib.error
import urllib.request

import step_pb2
from tkgfix_plugin import StepError, serve

INPUT = {
    "type": "object",
    "additionalProperties": False,
    "required": ["url"],
    "properties": {
        "url": {"type": "string", "description": "the http or https address"},
        "status": {"type": "integer", "description": "the status that is wanted; 200 if it is not given"},
    },
}
OUTPUT = {
    "type": "object",
    "required": ["ok", "status"],
    "properties": {
        "ok": {"type": "boolean", "description": "whether the status is the wanted one"},
        "status": {"type": "integer", "description": "the status that came"},
    },
}


class HTTPCheck:
    def describe(self):
        return step_pb2.Description(
            name="http-check",
            version="1.0.0",
            summary="Asks a web address and says whether the answer is the wanted one.",
            effect=step_pb2.EFFECT_READ,
            input=json.dumps(INPUT).encode(),
            output=json.dumps(OUTPUT).encode(),
        )

    def plan(self, request, cancelled):
        url, want = read(request.input)
        if cancelled.is_set():
            raise StepError("ask %s: cancelled" % url)
        try:
            with urllib.request.urlopen(urllib.request.Request(url, method="GET"), timeout=10) as answer:
                status = answer.status
        except urllib.error.HTTPError as e:
            status = e.code
        except OSError as e:
            raise StepError("ask %s: %s" % (url, e), step_pb2.ERROR_KIND_TRANSIENT, "curl -iv " + url)
        ok = status == want
        text = "%s answers %d, and %d is wanted" % (url, status, want)
        return step_pb2.PlanResponse(
            outputs=json.dumps({"ok": ok, "status": status}).encode(),
            summary=text,
            evidence=[
                step_pb2.Evidence(subject=url, check="http-status", verdict=step_pb2.VERDICT_OK if ok else step_pb2.VERDICT_BAD, text=text)
            ],
        )

    def apply(self, request, cancelled, host):
        raise StepError("http-check only reads")


def read(raw):
    """Reads the input. A key that is not known, or a value of the wrong type, is an error that names it."""
    given = json.loads(raw or b"{}")
    for key in given:
        if key not in INPUT["properties"]:
            raise StepError('unknown input "%s"' % key)
    url, want = given.get("url"), given.get("status", 200)
    if not isinstance(url, str) or not url.startswith(("http://", "https://")):
        raise StepError('input "url" must be an http or https address')
    if not isinstance(want, int) or isinstance(want, bool):
        raise StepError('input "status" must be a whole number')
    return url, want


def main():
    serve(HTTPCheck())
