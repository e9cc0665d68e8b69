"""The table of CUDA kernels out of onnxruntime's page."""

from tools.cuda_kernels import rows

PAGE = """
## Operators implemented by CPUExecutionProvider

|**Operator Domain:** *ai.onnx*||||
|Add|*in* A:**T**<br> *in* B:**T**<br> *out* C:**T**|14+|**T** = tensor(float)|

## Operators implemented by CUDAExecutionProvider

| Op Name | Parameters | OpSet Version | Types Supported |
|---------|------------|---------------|-----------------|
|**Operator Domain:** *ai.onnx*||||
|Add|*in* A:**T**<br> *in* B:**T**<br> *out* C:**T**|14+|**T** = tensor(float), tensor(float16)|
|||13|**T** = tensor(float)|
|||[7, 12]|**T** = tensor(float)|
|EyeLike|*in* input:**T1**<br> *out* output:**T2**|9+|**T1** = tensor(float)|
|Squeeze|*in* d:**T**<br> *in* axes:**tensor(int64)**<br> *out* s:**T**<br><br>or<br><br>\
*in* d:**T**<br> *out* s:**T**|[21, 22]|**T** = seq(tensor(bool)), tensor(float)|
| |
|**Operator Domain:** *com.microsoft*||||
|GatherBlockQuantized|*in* d:**T1**<br> *in* i:**Tind**<br> *out* o:**T2**|1+|**T1** = tensor(int4)<br/> \
**T2** = tensor(float)<br/> **Tind** = tensor(int32), tensor(int64)|
|**Operator Domain:** *com.ms.internal.nhwc*||||
|Conv|*in* X:**T**<br> *out* Y:**T**|22+|**T** = tensor(float)|

## Operators implemented by DmlExecutionProvider

|**Operator Domain:** *ai.onnx*||||
|Mul|*in* A:**T**<br> *out* C:**T**|14+|**T** = tensor(float)|
"""


def test_rows_are_those_of_cuda_of_late_opsets_and_of_encoders():
    """Other providers, old opsets, other domains and other operators are left out."""
    assert [row.split("\t") for row in rows(PAGE)] == [
        ["ai.onnx", "Add", "14+", "T T > T", "T=float,float16"],
        ["ai.onnx", "Add", "13", "T T > T", "T=float"],
        ["ai.onnx", "Squeeze", "21-22", "T int64 > T or T > T", "T=float"],
        ["com.microsoft", "GatherBlockQuantized", "1+", "T1 Tind > T2", "T1=int4 T2=float Tind=int32,int64"],
    ]
