"""touch-file: makes an empty file, once. It is here to show an effect in Python, from the journal's intent to its done."""

import json
import os

import step_pb2
from tkgfix_plugin import StepError, serve

INPUT = {
    "type": "object",
    "additionalProperties": False,
    "required": ["path"],
    "properties": {"path": {"type": "string", "description": "absolute path of the file"}},
}
OUTPUT = {"type": "object", "properties": {"states": {"type": "array", "items": {"type": "integer"}, "description": "what the journal held"}}}


def target(path):
    return step_pb2.Target(kind="File", name=path)


class TouchFile:
    def describe(self):
        return step_pb2.Description(
            name="touch-file", version="0.1.0", summary="Makes an empty file.", effect=step_pb2.EFFECT_CHANGE,
            input=json.dumps(INPUT).encode(), output=json.dumps(OUTPUT).encode(),
        )

    def plan(self, request, cancelled):
        path = json.loads(request.input)["path"]
        if os.path.exists(path):
            return step_pb2.PlanResponse(outputs=b"{}", summary="it is there")
        change = step_pb2.PlannedChange(
            action=step_pb2.ACTION_CREATE, target=target(path), after=b'{"size":0}', reason="it is not there", undo="rm " + path
        )
        return step_pb2.PlanResponse(outputs=b"{}", changes=[change], summary="to be made")

    def apply(self, request, cancelled, host):
        path = json.loads(request.input)["path"]
        states = [host.effect("touch")]
        if states[0] == step_pb2.EFFECT_STATE_NONE:
            host.intend("touch", target(path))
        states.append(host.effect("touch"))
        if states[-1] == step_pb2.EFFECT_STATE_INTENDED:
            # To make the file is its own observation: that it exists already is as good.
            try:
                os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            except FileExistsError:
                pass
            except OSError as e:
                raise StepError("make %s: %s" % (path, e))
            host.progress("made " + path)
            host.done("touch", "the file is there")
        states.append(host.effect("touch"))
        return step_pb2.ApplyResponse(outputs=json.dumps({"states": states}).encode(), summary="made " + path)


def main():
    serve(TouchFile())
