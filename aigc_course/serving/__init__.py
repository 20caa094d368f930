"""Takes the models out of the notebook: ONNX files, and a service over HTTP."""

from aigc_course.serving.onnx_files import (
    Exported,
    ExportedUNet,
    export_captioner,
    export_denoiser,
    exported_captions,
    exported_pipeline,
)
from aigc_course.serving.replica import Running, create, limits_from, replicas
from aigc_course.serving.service import Limits, service

__all__ = [
    "Exported",
    "ExportedUNet",
    "Limits",
    "Running",
    "create",
    "export_captioner",
    "export_denoiser",
    "exported_captions",
    "exported_pipeline",
    "limits_from",
    "replicas",
    "service",
]
