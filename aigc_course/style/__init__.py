"""Separates what a picture shows from how it is painted."""

from aigc_course.style.adapter import adapted, eye, load_adapter, new_adapter, save_adapter, vectors
from aigc_course.style.adapter import objective as adapter_objective
from aigc_course.style.adapter import put as put_adapter
from aigc_course.style.adapter import state_of as adapter_state
from aigc_course.style.adaptive import Decoder, stylise
from aigc_course.style.adaptive import objective as decoder_objective
from aigc_course.style.features import Features, encoder_features, random_features, vgg_features
from aigc_course.style.methods import METHODS, TRIES, features, nearest_network, pipeline, trained, transfer
from aigc_course.style.network import TransformationNetwork, repaint
from aigc_course.style.network import objective as network_objective
from aigc_course.style.optimising import Stroke, gatys
from aigc_course.style.pictures import PHOTOGRAPHS, as_pictures, from_pil, photograph, to_pil
from aigc_course.style.redrawing import NOISE, by_lora, by_picture, by_sharing, by_words, named, redraw, told, worded
from aigc_course.style.shared_attention import SharedAttention, shared
from aigc_course.style.statistics import Moments, adain, all_moments, gram, grams, moments
from aigc_course.style.tiles import steady

__all__ = [
    "METHODS",
    "NOISE",
    "PHOTOGRAPHS",
    "TRIES",
    "Decoder",
    "Features",
    "Moments",
    "SharedAttention",
    "Stroke",
    "TransformationNetwork",
    "adain",
    "adapted",
    "adapter_objective",
    "adapter_state",
    "all_moments",
    "as_pictures",
    "by_lora",
    "by_picture",
    "by_sharing",
    "by_words",
    "decoder_objective",
    "encoder_features",
    "eye",
    "features",
    "from_pil",
    "gatys",
    "gram",
    "grams",
    "load_adapter",
    "moments",
    "named",
    "nearest_network",
    "network_objective",
    "new_adapter",
    "photograph",
    "pipeline",
    "put_adapter",
    "random_features",
    "redraw",
    "repaint",
    "save_adapter",
    "shared",
    "steady",
    "stylise",
    "to_pil",
    "told",
    "trained",
    "transfer",
    "vectors",
    "vgg_features",
    "worded",
]
