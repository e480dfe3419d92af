"""Holds Kubernetes objects (the JSON of the first argument) against their schemas; prints what is wrong as JSON.

Kubernetes' own kinds have the JSON schemas that kubernetes-validate carries. KServe's and Kubeflow's have no published schema in a
package; their Python clients have classes that are generated from the same Go types as the CRDs: which fields there are, of which
types, and which are required. The pods inside them are Kubernetes' again.
"""

import importlib
import json
import re
import sys

import kubernetes_validate
from kubernetes.client import models as kubernetes

OLDEST = "1.30"

CLIENTS = {
    ("serving.kserve.io/v1alpha1", "ServingRuntime"): ("kserve", "V1alpha1ServingRuntime"),
    ("serving.kserve.io/v1beta1", "InferenceService"): ("kserve", "V1beta1InferenceService"),
    ("kubeflow.org/v1", "PyTorchJob"): ("kubeflow.training", "KubeflowOrgV1PyTorchJob"),
}

SIMPLE = {
    "str": str,
    "int": int,
    "bool": bool,
    "float": (int, float),
    "object": object,
    "datetime": str,
    "ResourceQuantity": (str, int, float),
}
# A class of Kubernetes' by the name that KServe's generator gives it.
RENAMED = {"K8sIoApiAppsV1DeploymentStrategy": "V1DeploymentStrategy"}


def wrong(value, type_name, modules, where):
    """What is wrong with a value of a client's type."""
    if inner := re.fullmatch(r"[Ll]ist\[(.+)\]", type_name):
        if not isinstance(value, list):
            yield f"{where}: expected a list"
            return
        for index, each in enumerate(value):
            yield from wrong(each, inner[1], modules, f"{where}[{index}]")
        return
    if inner := re.fullmatch(r"[Dd]ict[\[(]str, (.+)[\])]", type_name):
        if not isinstance(value, dict):
            yield f"{where}: expected an object"
            return
        for key, each in value.items():
            yield from wrong(each, inner[1], modules, f"{where}.{key}")
        return
    if type_name in SIMPLE:
        expected = SIMPLE[type_name]
        if not isinstance(value, expected) or (isinstance(value, bool) and type_name not in ("bool", "object")):
            yield f"{where}: expected {type_name} but received {json.dumps(value)}"
        return
    name = RENAMED.get(type_name, type_name)
    model = next((getattr(module, name) for module in [*modules, kubernetes] if hasattr(module, name)), None)
    if model is None:
        yield f"{where}: there is no type {type_name}"
        return
    if not isinstance(value, dict):
        yield f"{where}: expected {type_name} but received {json.dumps(value)}"
        return
    attributes = {key: attribute for attribute, key in model.attribute_map.items()}
    for key, each in value.items():
        if key not in attributes:
            yield f"{where}: {type_name} has no field {key}"
        else:
            yield from wrong(each, model.openapi_types[attributes[key]], modules, f"{where}.{key}")
    if not model.__module__.startswith("kubernetes."):
        try:
            model(**{attributes[key]: each for key, each in value.items() if key in attributes})
        except ValueError as error:
            yield f"{where}: {error}"


def own_fields(kind, value):
    """Those of a value's fields that a class of Kubernetes' has."""
    return {key: each for key, each in value.items() if key in kind.attribute_map.values()}


def templates(document):
    """The pods that a client's object asks for, as Kubernetes writes them."""
    spec = document["spec"]
    if document["kind"] == "PyTorchJob":
        for role, replica in spec["pytorchReplicaSpecs"].items():
            yield role, replica["template"]
    elif document["kind"] == "ServingRuntime":
        yield "the runtime", {"spec": own_fields(kubernetes.V1PodSpec, spec)}
    elif document["kind"] == "InferenceService":
        predictor = spec["predictor"]
        container = {"name": "kserve-container", **own_fields(kubernetes.V1Container, predictor["model"])}
        yield "the predictor", {"spec": {**own_fields(kubernetes.V1PodSpec, predictor), "containers": [container]}}


def by_schema(document, version, where):
    """What Kubernetes' JSON schema says."""
    try:
        kubernetes_validate.validate(document, version, strict=True)
    except kubernetes_validate.ValidationError as error:
        path = ".".join(str(each) for each in error.path)
        yield f"{where}, Kubernetes {version}: {path}: {error.message}"
    except kubernetes_validate.SchemaNotFoundError as error:
        yield f"{where}, Kubernetes {version}: {error.message}"


def problems(document, versions):
    kind = document["kind"]
    where = f"{kind} {document['metadata']['name']}"
    client = CLIENTS.get((document["apiVersion"], kind))
    if client is None:
        for version in versions:
            yield from by_schema(document, version, where)
        return
    package, name = client
    modules = [importlib.import_module(package), importlib.import_module(f"{package}.models")]
    yield from wrong(document, name, modules, where)
    for role, template in templates(document):
        pod = {"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "pod"}, "template": template}
        for version in versions:
            yield from by_schema(pod, version, f"{where}, {role}")


def main():
    versions = [OLDEST, kubernetes_validate.latest_version()]
    documents = json.loads(sys.argv[1])
    found = [list(problems(document, versions)) for document in documents]
    print(json.dumps({"versions": versions, "problems": found}))


main()
