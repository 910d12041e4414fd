"""Starlette, orjson and onnxruntime put together by hand: what a careful team without a framework would build."""
