"""TorchServe handler for LeNet-5 archives that lenet5-libtorch writes (exportModelArchive).

A request is one image: an encoded file (PNG, JPEG, GIF, BMP, TIFF, WebP), or pixels as they are, light ink on black:
784 bytes (0..255), 3136 bytes (float32, little-endian, 0..1), or JSON, 784 numbers in 0..1, nested or not. An encoded
image becomes 28x28 the way MNIST was made, like the package's own predict; one of 28x28 keeps its pixels.

The answer: {"label": "7", "probability": 0.99, "probabilities": [...]}. A request that holds no image is answered with
status 400 and leaves the other requests of its batch alone.
"""

import io
import json
import os

import numpy
import torch
from PIL import Image, ImageOps

SIDE = 28
BOX = 20  # MNIST's ink is scaled into 20x20
WORKING_SIDE = 1024
MAX_PIXELS = 100_000_000
LEAST_CONTRAST = 16
LIGHT_BORDER = 0.75
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP")
SIGNATURES = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"RIFF")


class LeNet5Handler:
    """What TorchServe calls: initialize once a worker, handle once a batch."""

    def __init__(self):
        self.model = None
        self.device = None
        self.class_names = None

    def initialize(self, context):
        properties = context.system_properties
        folder = properties.get("model_dir")
        gpu = properties.get("gpu_id")
        use_gpu = torch.cuda.is_available() and gpu is not None and int(gpu) >= 0
        self.device = torch.device(f"cuda:{gpu}" if use_gpu else "cpu")
        path = os.path.join(folder, context.manifest["model"]["serializedFile"])
        self.model = torch.jit.load(path, map_location=self.device).eval()
        names = os.path.join(folder, "index_to_name.json")
        if os.path.exists(names):
            with open(names, encoding="utf-8") as file:
                self.class_names = json.load(file)

    def handle(self, data, context):
        answers = [None] * len(data)
        images = []
        places = []
        for place, request in enumerate(data):
            try:
                images.append(read_pixels(request.get("data", request.get("body"))))
                places.append(place)
            except ValueError as error:
                context.set_response_status(400, "Bad Request", place)
                answers[place] = {"code": 400, "type": "BadRequestException", "message": str(error)}
        if images:
            batch = torch.from_numpy(numpy.stack(images)).to(self.device)
            with torch.inference_mode():
                probabilities = self.model(batch).exp().cpu()
            for place, row in zip(places, probabilities.tolist()):
                best = max(range(len(row)), key=row.__getitem__)
                answers[place] = {"label": self.name_of(best), "probability": row[best], "probabilities": row}
        return answers

    def name_of(self, index):
        return str(index) if self.class_names is None else self.class_names[str(index)]


def read_pixels(body):
    """One request's body as float32 [1, 28, 28] in 0..1; ValueError says what it is instead."""
    if isinstance(body, dict):
        body = body.get("pixels")
    if isinstance(body, (list, tuple)):
        return checked(body)
    if isinstance(body, str):
        body = body.encode("utf-8")
    if not isinstance(body, (bytes, bytearray)) or len(body) == 0:
        raise ValueError("Expected an image for the request body but received none")
    body = bytes(body)
    if not body.startswith(SIGNATURES):
        if len(body) == SIDE * SIDE:
            return checked(numpy.frombuffer(body, numpy.uint8).astype(numpy.float32) / 255)
        if len(body) == SIDE * SIDE * 4:
            return checked(numpy.frombuffer(body, "<f4"))
        if body.lstrip()[:1] in (b"[", b"{"):
            try:
                parsed = json.loads(body)
            except ValueError:
                raise ValueError("Expected JSON for the request body but received text that does not parse") from None
            return read_pixels(parsed)
    return decode_digit(body).astype(numpy.float32)[None] / 255


def checked(values):
    try:
        pixels = numpy.asarray(values, dtype=numpy.float32)
    except (TypeError, ValueError):
        raise ValueError("Expected numbers for the pixels but received something else") from None
    if pixels.size != SIDE * SIDE:
        raise ValueError(f"Expected {SIDE * SIDE} pixels (28x28) but received {pixels.size}")
    if not (numpy.isfinite(pixels).all() and pixels.min() >= 0 and pixels.max() <= 1):
        raise ValueError("Expected pixels in 0..1 but received others")
    return pixels.reshape(1, SIDE, SIDE)


def decode_digit(encoded):
    """An encoded image as uint8 [28, 28], light ink on black; the steps of the package's decodeDigit."""
    grey = decode_grey(encoded)
    if grey.shape == (SIDE, SIDE):
        edge = border_of(grey)
        return 255 - grey if (edge > 127).sum() >= edge.size * LIGHT_BORDER else grey
    digit = numpy.zeros((SIDE, SIDE), numpy.uint8)
    ink = ink_of(grey)
    if ink is None:
        return digit
    rows, columns = numpy.nonzero(ink > otsu_threshold(ink))
    top, bottom, left, right = rows.min(), rows.max() + 1, columns.min(), columns.max() + 1
    scale = BOX / max(bottom - top, right - left)
    size = (max(1, round((right - left) * scale)), max(1, round((bottom - top) * scale)))
    box = numpy.asarray(Image.fromarray(ink[top:bottom, left:right]).resize(size, Image.Resampling.BICUBIC), numpy.float64)
    box = numpy.rint(box * 255 / max(box.max(), 1))
    height, width = box.shape
    mass = box.sum()
    if mass > 0:
        # MNIST's makers put the centre of mass in the middle.
        y = round(14 - float((box.sum(1) * numpy.arange(height)).sum() / mass))
        x = round(14 - float((box.sum(0) * numpy.arange(width)).sum() / mass))
        y = min(max(y, 0), SIDE - height)
        x = min(max(x, 0), SIDE - width)
        digit[y : y + height, x : x + width] = box
    return digit


def decode_grey(encoded):
    try:
        image = Image.open(io.BytesIO(encoded), formats=FORMATS)
        if image.width * image.height > MAX_PIXELS:
            raise ValueError(f"Expected at most {MAX_PIXELS} pixels but received {image.width} x {image.height}")
        image = ImageOps.exif_transpose(image)
    except ValueError:
        raise
    except Exception as error:  # Pillow's decoders raise what they like; all of it means: not an image
        raise ValueError(f"Expected an image for the request body but received {error}") from None
    if image.mode.startswith("I"):  # 16 bits a pixel
        image = Image.fromarray((numpy.asarray(image, numpy.float64) / 257).clip(0, 255).astype(numpy.uint8))
    has_alpha = "A" in image.getbands() or "transparency" in image.info
    image = image.convert("RGBA" if has_alpha else "RGB")
    if max(image.size) > WORKING_SIDE:
        image.thumbnail((WORKING_SIDE, WORKING_SIDE), Image.Resampling.LANCZOS)
    bands = numpy.asarray(image, numpy.float64)
    grey = numpy.rint(bands[..., :3] @ numpy.array([0.299, 0.587, 0.114]))
    if has_alpha:
        # What is opaque is the ink: the ground below it is whichever of black and white it stands out from.
        alpha = bands[..., 3]
        ground = 0 if (alpha * grey).sum() > alpha.sum() * 127.5 else 255
        grey = numpy.rint((grey * alpha + ground * (255 - alpha)) / 255)
    return grey.astype(numpy.uint8)


def border_of(grey):
    return numpy.concatenate([grey[0], grey[-1], grey[1:-1, 0], grey[1:-1, -1]])


def ink_of(grey):
    """Light ink on black, stretched to 0..255; None for a blank image."""
    lowest, highest = int(grey.min()), int(grey.max())
    if highest - lowest < LEAST_CONTRAST:
        return None
    edge = numpy.sort(border_of(grey)).astype(int)
    ground = int(edge[edge.size >> 1])
    inverted = ground > (lowest + highest) / 2
    grain = 3 * abs(ground - int(edge[int(edge.size * (0.25 if inverted else 0.75))]))
    reach = ground - lowest if inverted else highest - ground
    floor = min(grain, reach / 2)
    ink = (ground - grey.astype(float) if inverted else grey.astype(float) - ground) - floor
    return numpy.rint((ink * 255 / (reach - floor)).clip(0, 255)).astype(numpy.uint8)


def otsu_threshold(ink):
    """The grey level that parts ink and ground with the greatest variance between the two (Otsu 1979)."""
    histogram = numpy.bincount(ink.ravel(), minlength=256).astype(float)
    below = histogram.cumsum()[:-1]
    above = ink.size - below
    sum_below = (histogram * numpy.arange(256)).cumsum()
    with numpy.errstate(divide="ignore", invalid="ignore"):
        apart = sum_below[:-1] / below - (sum_below[-1] - sum_below[:-1]) / above
        variance = numpy.where((below == 0) | (above == 0), -1, below * above * apart * apart)
    return int(variance.argmax())
