// Roots of forward skinning, d(x) = M(x) x = x_d, with M(x) a grid of 4x4 matrices mixed trilinearly: Broyden's good
// method from several starts (SNARF, Chen et al. 2021; voxels as in Fast-SNARF 2023). See broyden.py.
#pragma once
#include "skin.h"

struct Volume {
  i32 size[3];               // grid points along x, y, z; each at least 2
  float low[3], per_metre[3];  // grid coordinate = (x - low) per_metre, clamped to the grid
};

// matrix[16] at x; the grid is [z, y, x, 16]. NaN reads the first cell.
AC_HD void volume_lookup(const Volume& volume, const float* grid, const float* x, float* matrix) {
  i64 cell[3];
  float f[3];
  for (int d = 0; d < 3; ++d) {
    float last = (float)(volume.size[d] - 1);
    float at = ac_min(ac_max((x[d] - volume.low[d]) * volume.per_metre[d], 0.0f), last);
    i32 whole = (i32)at;
    cell[d] = whole < volume.size[d] - 2 ? whole : volume.size[d] - 2;
    f[d] = at - (float)cell[d];
  }
  const float* corner = grid + 16 * ((cell[2] * volume.size[1] + cell[1]) * volume.size[0] + cell[0]);
  i64 along_y = 16 * (i64)volume.size[0], along_z = along_y * volume.size[1];
  const float* one[8];
  float weight[8];
  for (int c = 0; c < 8; ++c) {
    one[c] = corner + ((c & 1) ? 16 : 0) + ((c & 2) ? along_y : 0) + ((c & 4) ? along_z : 0);
    weight[c] = ((c & 1) ? f[0] : 1 - f[0]) * ((c & 2) ? f[1] : 1 - f[1]) * ((c & 4) ? f[2] : 1 - f[2]);
  }
  for (int i = 0; i < 16; ++i) {
    float sum = 0;
    for (int c = 0; c < 8; ++c) sum += weight[c] * one[c][i];
    matrix[i] = sum;
  }
}

// N searches side by side, so that loops over them become vector instructions; one on CUDA.
template <int N>
struct Searches {
  float x[3][N], target[3][N], g[3][N];  // g = M(x) x - target at the x before the last step
  float j[3][3][N], dx[3][N];            // j: the estimate of the Jacobian's inverse; dx: the last step
  float error2[N];                       // |g|^2, which says how a search has ended, and then stays
};

struct Limits {
  float converged2, diverged2;  // |g|^2, metres^2
};
AC_HD bool broyden_found(const Limits& limits, float error2) { return error2 < limits.converged2; }
AC_HD bool broyden_goes_on(const Limits& limits, float error2) {
  return (error2 >= limits.converged2) & (error2 < limits.diverged2);
}

// after[3][N] = d(x) - target at x of search n.
template <int N>
AC_HD void broyden_residual(const Volume& volume, const float* grid, const Searches<N>& all, int n, float (*after)[N]) {
  float x[3] = {all.x[0][n], all.x[1][n], all.x[2][n]}, matrix[16], posed[3];
  volume_lookup(volume, grid, x, matrix);
  skin_point(matrix, x, posed);
  for (int d = 0; d < 3; ++d) after[d][n] = posed[d] - all.target[d][n];
}

template <int N>
AC_HD void broyden_open(const Volume& volume, const float* grid, const float* target, const float* start, int n,
                        const Limits& limits, Searches<N>* all) {
  float x[3], posed[3], matrix[16], j[9];
  skin_point(start, target, x);
  volume_lookup(volume, grid, x, matrix);
  skin_point(matrix, x, posed);
  float scale = 1.0f / skin_cofactors(matrix, j);
  for (int i = 0; i < 9; ++i) all->j[i / 3][i % 3][n] = j[i] * scale;
  for (int d = 0; d < 3; ++d) {
    all->x[d][n] = x[d], all->target[d][n] = target[d];
    all->g[d][n] = posed[d] - target[d];
  }
  all->error2[n] = limits.converged2;  // the start's own error decides nothing
}

// x moves by dx = -J g where search n goes on, or has just ended at a root.
template <int N>
AC_HD void broyden_move(int n, bool moves, Searches<N>* all) {
  for (int d = 0; d < 3; ++d) {
    float dx = -(all->j[d][0][n] * all->g[0][n] + all->j[d][1][n] * all->g[1][n] + all->j[d][2][n] * all->g[2][n]);
    all->dx[d][n] = dx;
    all->x[d][n] += moves ? dx : 0;
  }
}

// The residual after the last step updates J and decides whether search n goes on, without branches.
template <int N>
AC_HD void broyden_step(const float (*after)[N], int n, const Limits& limits, Searches<N>* all) {
  float dg[3], row[3], error2 = 0, below = 0;
  for (int d = 0; d < 3; ++d) {
    dg[d] = after[d][n] - all->g[d][n];
    all->g[d][n] = after[d][n];
    error2 += after[d][n] * after[d][n];
    row[d] = all->dx[0][n] * all->j[0][d][n] + all->dx[1][n] * all->j[1][d][n] + all->dx[2][n] * all->j[2][d][n];
    below += row[d] * dg[d];
  }
  float scale = 1.0f / (below + (below >= 0 ? 1e-6f : -1e-6f));
  for (int d = 0; d < 3; ++d) {
    const float jdg = all->j[d][0][n] * dg[0] + all->j[d][1][n] * dg[1] + all->j[d][2][n] * dg[2];
    for (int c = 0; c < 3; ++c) all->j[d][c][n] += (all->dx[d][n] - jdg) * scale * row[c];
  }
  bool going = broyden_goes_on(limits, all->error2[n]);
  all->error2[n] = going ? error2 : all->error2[n];
  broyden_move(n, going & (error2 < limits.diverged2), all);
}

// state of a point's roots [count, 3]: 0 where none was found, which `state` says by 0, else 1 if an earlier start has
// found it too, or 2.
AC_HD void broyden_distinct(const float* roots, i32 count, float apart, unsigned char* state) {
  for (i32 s = 0; s < count; ++s) {
    bool fresh = state[s];
    for (i32 k = 0; k < s && fresh; ++k) {
      if (state[k] != 2) continue;
      float a = roots[3 * k] - roots[3 * s], b = roots[3 * k + 1] - roots[3 * s + 1];
      float c = roots[3 * k + 2] - roots[3 * s + 2];
      fresh = !(a * a + b * b + c * c < apart * apart);
    }
    state[s] = fresh ? 2 : state[s];
  }
}
