"""Serves a step of tkgfix from Python: the protocol of docs/plugin-protocol.md and nothing else.

A step is an object with three methods:

    describe() -> step_pb2.Description
    plan(request, cancelled) -> step_pb2.PlanResponse
    apply(request, cancelled, host) -> step_pb2.ApplyResponse

cancelled is a threading.Event. host has effect, intend, done and progress. A step raises StepError to say what went wrong.
serve(step) is the whole of a plugin's main.
"""

import base64
import datetime
import os
import sys
import tempfile
import threading
import time
from concurrent import futures

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

import goplugin_pb2
import step_pb2

COOKIE = "dd1b2a4b-3a0e-4b6a-9a6c-6f1d4c0b6f7e"
CORE_PROTOCOL, PROTOCOL = 1, 1
MAX_MESSAGE = 16 << 20
LIMITS = [("grpc.max_receive_message_length", MAX_MESSAGE), ("grpc.max_send_message_length", MAX_MESSAGE)]

# The status code that belongs to each kind of error.
CODES = {
    step_pb2.ERROR_KIND_FAILED: grpc.StatusCode.UNKNOWN,
    step_pb2.ERROR_KIND_TRANSIENT: grpc.StatusCode.UNAVAILABLE,
    step_pb2.ERROR_KIND_NOT_YET: grpc.StatusCode.FAILED_PRECONDITION,
    step_pb2.ERROR_KIND_UNKNOWABLE: grpc.StatusCode.DATA_LOSS,
    step_pb2.ERROR_KIND_CONFLICT: grpc.StatusCode.ABORTED,
}


class StepError(Exception):
    """What went wrong, of which kind it is, and what to do about it."""

    def __init__(self, message, kind=step_pb2.ERROR_KIND_FAILED, hint=""):
        super().__init__(message)
        self.kind, self.hint = kind, hint


def serve(step):
    """Serves the step to the tkgfix that started this process, until that one ends it or is gone."""
    parent = os.getppid()  # read first, so that a host that goes meanwhile is noticed
    if os.environ.get("TKGFIX_PLUGIN") != COOKIE:
        sys.exit("This is a plugin of tkgfix. Put it into .tkgfix/plugins; then: tkgfix plugins lock")
    watch_host(parent)

    key, certificate, der = make_certificate()
    host_certificate = os.environ["PLUGIN_CLIENT_CERT"].encode()
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=32), options=LIMITS)
    broker = Broker(key, certificate, host_certificate)
    ended = threading.Event()
    server.add_generic_rpc_handlers((step_handlers(step, broker), broker.handlers(), controller_handlers(ended)))
    path = os.path.join(tempfile.mkdtemp(prefix="py", dir=os.environ.get("PLUGIN_UNIX_SOCKET_DIR")), "s")
    # Only who has the key of the certificate that this process was started with gets in.
    server.add_secure_port("unix:" + path, grpc.ssl_server_credentials([(key, certificate)], host_certificate, True))
    server.start()
    fields = [CORE_PROTOCOL, PROTOCOL, "unix", path, "grpc", base64.b64encode(der).decode().rstrip("=")]
    print("|".join(map(str, fields)), flush=True)
    ended.wait()
    server.stop(grace=1).wait()


def watch_host(parent):
    """Ends this process when its host is gone, whatever it is doing: nothing may go on unseen."""

    def lifeline(fd):
        os.set_inheritable(fd, False)
        while os.read(fd, 512):
            pass
        os._exit(0)

    def watch():
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(0)

    fd = os.environ.get("TKGFIX_PLUGIN_LIFELINE", "")
    if fd.isdigit():
        threading.Thread(target=lifeline, args=(int(fd),), daemon=True).start()
    threading.Thread(target=watch, daemon=True).start()


def make_certificate():
    """Makes the certificate of this process: the host learns it from the handshake line, and trusts no other."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.utcnow()
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=3650))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        # It is a server's for the step, and a client's for the Host service.
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return (
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
        certificate.public_bytes(serialization.Encoding.PEM),
        certificate.public_bytes(serialization.Encoding.DER),
    )


def unary(request, answer):
    return grpc.unary_unary_rpc_method_handler(
        answer, request_deserializer=request.FromString, response_serializer=lambda m: m.SerializeToString()
    )


def step_handlers(step, broker):
    calls, lock = {}, threading.Lock()

    def during(request, context, work):
        """Runs a call so that Cancel finds it, and turns its error into a status."""
        cancelled = threading.Event()
        with lock:
            calls[request.call] = cancelled
        try:
            return work(cancelled)
        except StepError as e:
            fail(context, e)
        except Exception as e:  # one bad call must not pass for a lost connection
            fail(context, StepError("%s: %s" % (type(e).__name__, e)))
        finally:
            with lock:
                calls.pop(request.call, None)

    def plan(request, context):
        return during(request, context, lambda cancelled: step.plan(request, cancelled))

    def apply(request, context):
        def work(cancelled):
            with broker.dial(request.host) as channel:
                return step.apply(request, cancelled, Host(channel))

        return during(request, context, work)

    def cancel(request, context):
        with lock:
            if request.call in calls:
                calls[request.call].set()
        return step_pb2.CancelResponse()

    return grpc.method_handlers_generic_handler(
        "tkgfix.plugin.v1.Step",
        {
            "Describe": unary(step_pb2.DescribeRequest, lambda r, c: step_pb2.DescribeResponse(description=step.describe())),
            "Plan": unary(step_pb2.PlanRequest, plan),
            "Apply": unary(step_pb2.ApplyRequest, apply),
            "Cancel": unary(step_pb2.CancelRequest, cancel),
        },
    )


def fail(context, e):
    """Ends a call with the error and its detail, which carries kind and hint."""
    code, message = CODES[e.kind], str(e)[:8192]
    status = goplugin_pb2.RpcStatus(code=code.value[0], message=message)
    status.details.add().Pack(step_pb2.Error(kind=e.kind, message=message, hint=e.hint[:8192]))
    context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
    context.abort(code, message)


def controller_handlers(ended):
    def shutdown(request, context):
        ended.set()
        return goplugin_pb2.Empty()

    return grpc.method_handlers_generic_handler("plugin.GRPCController", {"Shutdown": unary(goplugin_pb2.Empty, shutdown)})


class Broker:
    """Learns from the host's stream where its Host services are."""

    def __init__(self, key, certificate, host_certificate):
        self.credentials = grpc.ssl_channel_credentials(host_certificate, key, certificate)
        self.known, self.news = {}, threading.Condition()

    def handlers(self):
        def start_stream(messages, context):
            for m in messages:
                with self.news:
                    self.known[m.service_id] = m
                    self.news.notify_all()
            return
            yield  # this side has nothing to say: it serves nothing more

        return grpc.method_handlers_generic_handler(
            "plugin.GRPCBroker",
            {
                "StartStream": grpc.stream_stream_rpc_method_handler(
                    start_stream, request_deserializer=goplugin_pb2.ConnInfo.FromString, response_serializer=lambda m: m.SerializeToString()
                )
            },
        )

    def dial(self, number):
        with self.news:
            if not self.news.wait_for(lambda: number in self.known, timeout=5):
                raise StepError("the host did not say where it is")
            info = self.known.pop(number)
        options = LIMITS + [("grpc.ssl_target_name_override", "localhost"), ("grpc.default_authority", "localhost")]
        return grpc.secure_channel("unix:" + info.address, self.credentials, options=options)


class Host:
    """The engine's journal, during one apply. Each call returns when the journal is durable."""

    def __init__(self, channel):
        self.channel = channel

    def call(self, method, request, response):
        try:
            return self.channel.unary_unary(
                "/tkgfix.plugin.v1.Host/" + method,
                request_serializer=lambda m: m.SerializeToString(),
                response_deserializer=response.FromString,
            )(request)
        except grpc.RpcError as e:
            raise StepError("journal: %s" % e.details())

    def effect(self, key):
        return self.call("Effect", step_pb2.EffectRequest(key=key), step_pb2.EffectResponse).state

    def intend(self, key, target):
        self.call("Intend", step_pb2.IntendRequest(spec=step_pb2.EffectSpec(key=key, target=target)), step_pb2.IntendResponse)

    def done(self, key, note):
        self.call("Done", step_pb2.DoneRequest(key=key, note=note), step_pb2.DoneResponse)

    def progress(self, message):
        self.call("Progress", step_pb2.ProgressRequest(message=message), step_pb2.ProgressResponse)
