"""Prints what TensorBoard's own readers find in a folder of event files, as one line of JSON."""
import json
import logging
import sys

from tensorboard.backend.event_processing import event_accumulator
from tensorboard.plugins.hparams import metadata
from tensorboard.util import tensor_util

logging.disable(logging.CRITICAL)

SIZES = {kind: 0 for kind in ["tensors", "scalars", "images", "histograms"]}  # all of them


def histogram(event):
    value = event.histogram_value
    plain = [value.min, value.max, value.num, value.sum, value.sum_squares]
    return [event.step, *plain, list(value.bucket_limit), list(value.bucket)]


def tensors(tag, plugin):
    """A tag's events as TensorFlow 2 writes them, where they are of this plugin."""
    described = found.summary_metadata.get(tag)
    ours = described is not None and described.plugin_data.plugin_name == plugin
    return [(event.step, tensor_util.make_ndarray(event.tensor_proto)) for event in found.Tensors(tag)] if ours else []


def histogram_of_buckets(step, buckets):
    """Rows of left edge, right edge and count; sums are not among them."""
    left, right, counts = buckets.T.tolist()
    return [step, min(left), max(right), sum(counts), None, None, right, counts]


found = event_accumulator.EventAccumulator(sys.argv[1], size_guidance=SIZES)
found.Reload()
tags = found.Tags()
hparams = {}
for tag, described in found.summary_metadata.items():
    content = described.plugin_data.content
    if tag == metadata.EXPERIMENT_TAG:
        experiment = metadata.parse_experiment_plugin_data(content)
        hparams["metrics"] = [info.name.tag for info in experiment.metric_infos]
        hparams["types"] = {info.name: int(info.type) for info in experiment.hparam_infos}
    elif tag == metadata.SESSION_START_INFO_TAG:
        start = metadata.parse_session_start_info_plugin_data(content)
        hparams["values"] = {name: getattr(value, value.WhichOneof("kind")) for name, value in start.hparams.items()}
    elif tag == metadata.SESSION_END_INFO_TAG:
        hparams["status"] = int(metadata.parse_session_end_info_plugin_data(content).status)
graph = None
if tags["graph"]:
    shapes = lambda node: [[d.size for d in shape.dim] for shape in node.attr["_output_shapes"].list.shape]
    graph = [[node.name, node.op, list(node.input), shapes(node)] for node in found.Graph().node]
print(
    json.dumps(
        {
            "version": found.file_version,
            "scalars": {
                **{tag: [[event.step, repr(event.value)] for event in found.Scalars(tag)] for tag in tags["scalars"]},
                **{tag: points for tag in tags["tensors"] if (points := [[step, repr(value.item())] for step, value in tensors(tag, "scalars")])},
            },
            "histograms": {
                **{tag: [histogram(event) for event in found.Histograms(tag)] for tag in tags["histograms"]},
                **{tag: events for tag in tags["tensors"] if (events := [histogram_of_buckets(*event) for event in tensors(tag, "histograms")])},
            },
            "images": {
                tag: [[event.step, event.width, event.height, event.encoded_image_string.hex()] for event in found.Images(tag)]
                for tag in tags["images"]
            },
            "texts": {
                tag: [item.decode() for event in found.Tensors(tag) for item in tensor_util.make_ndarray(event.tensor_proto).flat]
                for tag in tags["tensors"]
                if tag.endswith("/text_summary")
            },
            "hparams": hparams,
            "graph": graph,
        }
    )
)
