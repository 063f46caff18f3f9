// CPU shell of the sparse Adam. Rows of the mix are shared over threads; a block of them meets table after table, so
// that its gradient stays in the cache. Where a group of entries has no gradient, its table is not read.
#include "sparse_adam.h"

static const int ENTRIES = 1024;  // a block
static const int GROUP = 64;

static i64 smaller(i64 a, i64 b) { return a < b ? a : b; }

// begin, end: rows. features: 1, 2, 4 or 8.
AC_API void sparse_adam(AdamStep step, const float* coefficients, const float* grads, i32 blends, i32 tables,
                        i64 entries, i32 features, float* values, float* first, float* second, i64 begin, i64 end) {
  float grad[ENTRIES];
  i32 touched[ENTRIES];
  for (i64 start = begin * features; start < end * features; start += ENTRIES) {
    int size = (int)smaller(ENTRIES, end * features - start);
    for (i32 k = 0; k < tables; ++k) {
      bool used = false;
      for (i32 b = 0; b < blends; ++b) used |= !(coefficients[b * tables + k] == 0);
      if (!used) continue;
      for (int i = 0; i < size; ++i) grad[i] = 0;
      for (i32 b = 0; b < blends; ++b)
        for (int i = 0; i < size; ++i) grad[i] += coefficients[b * tables + k] * grads[b * entries + start + i];
      for (int group = 0; group < size; group += GROUP) {
        int stop = (int)smaller(group + GROUP, size);
        i32 any = 0;
        for (int i = group; i < stop; ++i) any |= touched[i] = !(grad[i] == 0);  // NaN touches
        if (!any) continue;
        for (int row = group; row < stop; row += features) {
          i32 all = 0;
          for (int f = 0; f < features; ++f) all |= touched[row + f];
          for (int f = 0; f < features; ++f) touched[row + f] = all;
        }
        i64 own = k * entries + start;
        for (int i = group; i < stop; ++i) {
          float value = values[own + i], m = first[own + i], v = second[own + i];
          sparse_adam_entry(step, grad[i], &value, &m, &v);
          values[own + i] = touched[i] ? value : values[own + i];
          first[own + i] = touched[i] ? m : first[own + i];
          second[own + i] = touched[i] ? v : second[own + i];
        }
      }
    }
  }
}
