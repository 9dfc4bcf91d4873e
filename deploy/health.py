"""The health check of the container: exit code 0 while /healthz says that all is well, else its answer and 1."""

import os
import sys
import urllib.error
import urllib.request

port = os.environ.get("KRAKEN_L3_HTTP", "").rpartition(":")[2] or "9464"
request = urllib.request.Request(f"http://127.0.0.1:{port}/healthz")
token = os.environ.get("KRAKEN_L3_HTTP_TOKEN")
if token:
    request.add_header("Authorization", f"Bearer {token}")
try:
    with urllib.request.urlopen(request, timeout=4) as response:
        sys.stdout.write(response.read(4096).decode(errors="replace"))
except urllib.error.HTTPError as error:
    sys.exit(error.read(4096).decode(errors="replace"))
except OSError as error:
    sys.exit(f"/healthz cannot be reached: {error}")
