# SPDX-License-Identifier: Apache-2.0
"""The names of the networks of torch_networks.py, for programs without torch."""

from __future__ import annotations

# Their layers, or what takes their place, are among those that the Edge TPU has.
MADE_OF_MAPPABLE_LAYERS = (
    "mobilenet_v2",
    "mobilenet_v3_small",
    "efficientnet_b0",
    "resnet18",
    "squeezenet1_1",
    "regnet_y_400mf",
    "mobilenetv4_conv_small",
    "tf_efficientnet_lite0",
    "ghostnet_100",
    "lcnet_050",
    "repvgg_a0",
    "ssdlite320 backbone",
    "resnet18 FPN backbone",
    "lraspp_mobilenet_v3_large",
    "deeplabv3_mobilenet_v3_large",
    "yolov5n",
    "yolov8n",
    "yolov8n-seg",
)
OTHERS = ("shufflenet_v2_x0_5", "yolo11n", "yolo26n", "yolo11n-pose", "LSTM", "GRU")
NAMES = (*MADE_OF_MAPPABLE_LAYERS, *OTHERS)
