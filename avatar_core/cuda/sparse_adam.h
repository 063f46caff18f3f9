// Adam (Kingma and Ba 2015) on one entry of a table that has a gradient. See sparse_adam.py for the definition.
#pragma once
#include "common.h"

struct AdamStep {
  float beta1, beta2, epsilon;
  float rate;        // learning rate / (1 - beta1^step)
  float correction;  // 1 / sqrt(1 - beta2^step)
};

AC_HD void sparse_adam_entry(const AdamStep& step, float grad, float* value, float* first, float* second) {
  *first += (1 - step.beta1) * (grad - *first);
  *second = step.beta2 * *second + (1 - step.beta2) * grad * grad;
  *value -= step.rate * *first / (__builtin_sqrtf(*second) * step.correction + step.epsilon);
}

// Gradient of table k at an entry of the mix: sum_b coefficients[b, k] grads[b, entry].
AC_HD float sparse_adam_gradient(const float* coefficients, const float* grads, i32 blends, i32 tables, i64 entries,
                                 i32 k, i64 entry) {
  float sum = 0;
  for (i32 b = 0; b < blends; ++b) sum += coefficients[b * tables + k] * grads[b * entries + entry];
  return sum;
}

// One row of table k; entries = rows * features.
AC_HD void sparse_adam_row(const AdamStep& step, const float* coefficients, const float* grads, i32 blends, i32 tables,
                           i64 entries, i32 features, i32 k, i64 row, float* values, float* first, float* second) {
  bool touched = false;
  for (i32 f = 0; f < features; ++f)  // NaN touches
    touched |=
        !(sparse_adam_gradient(coefficients, grads, blends, tables, entries, k, row * features + f) == 0);
  if (!touched) return;
  for (i32 f = 0; f < features; ++f) {
    i64 entry = row * features + f, own = k * entries + entry;
    float grad = sparse_adam_gradient(coefficients, grads, blends, tables, entries, k, entry);
    sparse_adam_entry(step, grad, values + own, first + own, second + own);
  }
}
