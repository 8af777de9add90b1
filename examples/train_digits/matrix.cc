#include "examples/train_digits/matrix.h"

namespace digits {

void multiply_add(Strided a, const float* b, float* c, std::size_t m, std::size_t k, std::size_t n) {
  for (std::size_t i = 0; i < m; ++i) {
    const float* row = a.data + i * a.row_stride;
    float* __restrict out = c + i * n;
    std::size_t p = 0;
    for (; p + 4 <= k; p += 4) {  // four rows of b for one load and store of c
      const float a0 = row[p * a.column_stride], a1 = row[(p + 1) * a.column_stride];
      const float a2 = row[(p + 2) * a.column_stride], a3 = row[(p + 3) * a.column_stride];
      const float *b0 = b + p * n, *b1 = b0 + n, *b2 = b1 + n, *b3 = b2 + n;
      for (std::size_t j = 0; j < n; ++j) out[j] += a0 * b0[j] + a1 * b1[j] + (a2 * b2[j] + a3 * b3[j]);
    }
    for (; p < k; ++p) {
      const float a0 = row[p * a.column_stride];
      const float* b0 = b + p * n;
      for (std::size_t j = 0; j < n; ++j) out[j] += a0 * b0[j];
    }
  }
}

}  // namespace digits
