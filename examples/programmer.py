"""impasto from Python and over HTTP: pictures in memory in, pictures in memory out.

    python examples/programmer.py photo.jpg painting.jpg 256

The last argument is the size. HTTP needs the extra `web`.
"""

import io
import json
import subprocess
import sys
import time
from pathlib import Path

import httpx
import numpy as np
from PIL import Image

import impasto


def in_python(photo: bytes, painting: bytes, size: int) -> None:
    """Paint from bytes, with a mask in memory, into a buffer and an array."""
    sky = np.zeros((64, 64), np.uint8)
    sky[:32] = 255  # the upper half stays more as it is
    network = impasto.load_backbone("compact", finish=0)  # once, for many paintings
    settings = {"size": size, "steps": 20, "backbone": network, "protect": sky}
    for look in ("subtle", "bold"):
        painted = impasto.paint(photo, io.BytesIO(painting), look=look, **settings)
        buffer = io.BytesIO()
        painted.save(buffer, format="jpeg")
        print(painted, np.asarray(painted).shape, len(buffer.getvalue()), "bytes")
    for step in impasto.paint_steps(photo, painting, **settings):
        if step.number == 10:  # to stop is to stop reading
            break
    step.image.save("half-way.png")
    try:
        impasto.paint(photo, painting, size=7)
    except impasto.ConfigError as error:
        print(error)  # size=7: it takes a whole number from 16 to 65,536, or original


def over_http(photo: bytes, painting: bytes, size: int) -> None:
    """Ask a studio for a painting, follow it, and fetch it."""
    command = [sys.executable, "-m", "impasto", "serve", "--port", "0", "--save-to", "none"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        address = server.stdout.readline().split()[5]  # the studio is open at ADDRESS
        try:
            with httpx.Client(base_url=address, timeout=60) as client:
                answer = client.post(
                    "/api/paintings",
                    files={"content": ("photo.jpg", photo), "style": ("painting.jpg", painting)},
                    data={"look": "bold", "settings": json.dumps({"size": size, "steps": 20})},
                )
                answer.raise_for_status()
                place = answer.headers["location"]
                while (state := client.get(place).json()["state"]) in ("waiting", "painting"):
                    time.sleep(0.2)
                picture = Image.open(io.BytesIO(client.get(f"{place}/picture").content))
                print(state, picture.size)
                refused = client.post("/api/paintings", files={"styles": painting})
                print(refused.status_code, refused.json()["detail"])
        finally:
            server.terminate()


if __name__ == "__main__":
    pictures = [Path(path).read_bytes() for path in sys.argv[1:3]]
    in_python(*pictures, size=int(sys.argv[3]))
    over_http(*pictures, size=int(sys.argv[3]))
