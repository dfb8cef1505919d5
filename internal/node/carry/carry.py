import os, socket, sys, threading

try:
    there = socket.create_connection((sys.argv[1], int(sys.argv[2])), 25)
except UnicodeError:  # a label that no name can have
    print("Name or service not known", file=sys.stderr)
    sys.exit(98)
except OSError as err:
    print(err, file=sys.stderr)
    sys.exit(98)
there.settimeout(None)
os.write(1, b"tkgfix ok\n")


def up():
    try:
        while data := os.read(0, 65536):
            there.sendall(data)
    finally:
        os._exit(0)


threading.Thread(target=up, daemon=True).start()
try:
    while data := there.recv(65536):
        while data:
            data = data[os.write(1, data):]
except OSError as err:
    print(err, file=sys.stderr, flush=True)
os._exit(0)
