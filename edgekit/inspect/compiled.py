# SPDX-License-Identifier: Apache-2.0
"""Summaries of the Edge TPU packages of a compiled file."""

from __future__ import annotations

from typing import Iterable

from edgekit.formats.darwinn import (
    Direction,
    EdgeTpuOperator,
    Executable,
    ExecutableType,
    Layer,
    arithmetic_cycles,
)
from edgekit.inspect.result import ExecutableInfo, LayerInfo, PackageInfo

_WAYS = {Direction.INFEED: "IN", Direction.OUTFEED: "OUT"}
# Minimum runtime version -> the public compilers that write it (from compiled files with their
# logs; with --min_runtime_version a newer compiler can write an older number).
_RELEASES = {
    10: "1.0",
    11: "2.0 to 15.0",
    12: "2.0 to 15.0",
    13: "2.0 to 15.0",
    14: "16.0",
}


def compiler_release(min_runtime_version: int) -> str:
    """Return the releases of edgetpu_compiler that write this number."""
    return _RELEASES.get(min_runtime_version, "no public release")


def describe_packages(operators: Iterable[EdgeTpuOperator]) -> tuple[PackageInfo, ...]:
    """Return one description for each edgetpu-custom-op."""
    return tuple(_describe(each) for each in operators)


def _describe(operator: EdgeTpuOperator) -> PackageInfo:
    package = operator.package
    inference = package.inference
    is_alone = inference.type is ExecutableType.STAND_ALONE or package.caching is None
    return PackageInfo(
        operator_index=operator.operator_index,
        kind="stand-alone" if is_alone else "cached",
        min_runtime_version=package.min_runtime_version,
        parameter_caching_token=f"{package.parameter_caching_token:016x}",
        compiler_version=package.compiler_version,
        executables=tuple(_executable(each) for each in package.executables),
        inputs=tuple(_layer(each) for each in inference.input_layers),
        outputs=tuple(_layer(each) for each in inference.output_layers),
        cached_bytes=package.cached_bytes,
        streamed_bytes=package.streamed_bytes,
        bus_bytes_per_inference=sum(inference.transfer_bytes().values()),
        bus_bytes_at_load=sum(package.caching.transfer_bytes().values()) if package.caching else 0,
    )


def _executable(executable: Executable) -> ExecutableInfo:
    return ExecutableInfo(
        type=executable.type.name,
        parameter_bytes=executable.parameter_bytes,
        instruction_bytes=executable.instruction_bytes,
        estimated_cycles=executable.estimated_cycles,
        tile_cycles=max(arithmetic_cycles(executable)),
        used_narrow_memory_bytes_per_tile=executable.used_narrow_memory_bytes_per_tile,
        scratch_bytes=executable.scratch_size_bytes,
        bus_bytes={
            f"{kind}:{_WAYS[way]}": size
            for (kind, way), size in executable.transfer_bytes().items()
        },
    )


def _layer(layer: Layer) -> LayerInfo:
    return LayerInfo(
        name=layer.name,
        shape=(layer.y_dim, layer.x_dim, layer.z_dim),
        data_type=layer.data_type.name,
        host_bytes=layer.host_bytes,
        device_bytes=layer.size_bytes * layer.execution_count_per_inference,
    )
