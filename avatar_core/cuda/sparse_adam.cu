// CUDA shell of the sparse Adam. Launch with one thread a row in x and one table in y.
#include "sparse_adam.h"

extern "C" __global__ void sparse_adam(AdamStep step, const float* coefficients, const float* grads, i32 blends,
                                       i32 tables, i64 entries, i32 features, float* values, float* first,
                                       float* second) {
  i64 row = blockIdx.x * (i64)blockDim.x + threadIdx.x;
  if (row * features < entries)
    sparse_adam_row(step, coefficients, grads, blends, tables, entries, features, (i32)blockIdx.y, row, values, first,
                    second);
}
