/* One step of AdamW or of Muon over a list of fp32 tensors, in one call. */

#include "vectors.h"

double sum_of_squares(const float *x, size count);

/* Loshchilov and Hutter, arXiv 1711.05101, algorithm 2, as torch.optim.AdamW has it. `steps[i]` counts tensor i's. */
void adamw_step(size count, float *const *weights, const float *const *gradients, float *const *means,
                float *const *squares, float *const *steps, const size *sizes, double lr, double beta1, double beta2,
                double eps, double decay) {
    for (size i = 0; i < count; i++) {
        double step = *steps[i] += 1;
        float rate = lr / (1 - pow(beta1, step)), over_root = 1 / sqrt(1 - pow(beta2, step));
        float kept = 1 - lr * decay, small = eps, first = 1 - beta1, second = 1 - beta2, old = beta2;
        float *restrict weight = weights[i], *restrict mean = means[i], *restrict square = squares[i];
        const float *restrict gradient = gradients[i];
        for (size j = 0; j < sizes[i]; j++) {
            float g = gradient[j], m = mean[j] + first * (g - mean[j]), s = old * square[j] + second * g * g;
            mean[j] = m;
            square[j] = s;
            weight[j] = weight[j] * kept - rate * m / (sqrtf(s) * over_root + small);
        }
    }
}

/* out (n, n) = left (n, depth) @ right (depth, n), known to be symmetric: a half is computed and mirrored. */
static void symmetric_product(const float *left, const float *right, size n, size depth, float *panel, float *out) {
    for (size j = 0; j < n; j += LANES) {
        for (size d = 0; d < depth; d++) store(panel + d * LANES, load(right + d * n + j));
        for (size i = j; i < n; i += LANES) {
            vec block[LANES];
            for (size half = 0; half < LANES; half += ROWS)
                tile(left + (i + half) * depth, depth, 1, panel, LANES, depth, block + half);
            for (int r = 0; r < LANES; r++) store(out + (i + r) * n + j, block[r]);
            if (i > j) transpose(block, out + j * n + i, n);
        }
    }
}

/* out (rows, columns) = left (rows, depth) @ right (depth, columns), without padding between rows. */
static void product(const float *left, const float *right, size rows, size columns, size depth, float *panel,
                    float *out) {
    for (size j = 0; j < columns; j += LANES) {
        for (size d = 0; d < depth; d++) store(panel + d * LANES, load(right + d * columns + j));
        for (size i = 0; i < rows; i += ROWS) {
            vec block[ROWS];
            tile(left + i * depth, depth, 1, panel, LANES, depth, block);
            for (int r = 0; r < ROWS; r++) store(out + (i + r) * columns + j, block[r]);
        }
    }
}

/* to (columns, rows) = from (rows, columns). */
static void transpose_all(const float *from, size rows, size columns, float *to) {
    for (size i = 0; i < rows; i += LANES)
        for (size j = 0; j < columns; j += LANES) {
            vec block[LANES];
            for (int r = 0; r < LANES; r++) block[r] = load(from + (i + r) * columns + j);
            transpose(block, to + j * rows + i, rows);
        }
}

typedef struct {
    float a, b, c; /* x becomes (a + b xx' + c (xx')^2) x */
    size steps;
} Iteration;

/* q (n, n), of which q x is the Newton-Schulz iteration of x (Jordan et al., the Muon post, 2024), from gram = xx'. All
   is a polynomial of gram: symmetric, so that half of each product is enough, and n wide however long the rows of x. */
static void iterate(float *gram, size n, const Iteration *it, float *scratch, float *q) {
    size square = n * n;
    float *poly = scratch, *temp = poly + square, *panel = temp + square;
    for (size step = 0; step < it->steps; step++) {
        symmetric_product(gram, gram, n, n, panel, poly);
        for (size i = 0; i < square; i++) poly[i] = it->b * gram[i] + it->c * poly[i];
        for (size i = 0; i < n; i++) poly[i * n + i] += it->a;
        if (step == 0) {
            memcpy(q, poly, square * sizeof(float));
        } else {
            symmetric_product(poly, q, n, n, panel, temp);
            memcpy(q, temp, square * sizeof(float));
        }
        if (step + 1 == it->steps) break;
        symmetric_product(poly, gram, n, n, panel, temp);
        symmetric_product(temp, poly, n, n, panel, gram);
    }
}

/* x (rows, columns), multiples of 16, made orthogonal: the result lies in scratch, and is returned. */
static float *orthogonalised(const float *x, size rows, size columns, const Iteration *it, float *scratch) {
    size n = least(rows, columns), m = rows + columns - n;
    float *other = scratch, *gram = other + n * m, *q = gram + n * n, *rest = q + n * n;
    transpose_all(x, rows, columns, other);
    if (rows > columns)
        symmetric_product(other, x, n, m, rest, gram);
    else
        symmetric_product(x, other, n, m, rest, gram);
    iterate(gram, n, it, rest, q);
    if (rows > columns)
        product(x, q, rows, columns, n, rest, other);
    else
        product(q, x, rows, columns, n, rest, other);
    return other;
}

/* Floats of scratch that `muon_step` needs for a matrix. */
size muon_scratch(size rows, size columns) {
    rows = up_to(rows, LANES);
    columns = up_to(columns, LANES);
    size n = least(rows, columns), m = rows + columns - n;
    return 2 * n * m + 4 * n * n + m * LANES;
}

/* momentum moves towards gradient; x is what is to be made orthogonal, over its length. */
static void momentum_step(float *momentum, const float *gradient, size rows, size columns, float kept, size nesterov,
                          double eps, float *x) {
    size padded = up_to(columns, LANES), area = up_to(rows, LANES) * padded;
    memset(x, 0, area * sizeof(float));
    for (size r = 0; r < rows; r++)
        for (size k = 0; k < columns; k++) {
            float g = gradient[r * columns + k], *mean = momentum + r * columns + k;
            *mean += (1 - kept) * (g - *mean);
            x[r * padded + k] = nesterov ? g + kept * (*mean - g) : *mean;
        }
    float over = 1 / fmax(sqrt(sum_of_squares(x, area)), eps);
    for (size i = 0; i < area; i++) x[i] *= over;
}

/* As torch.optim.Muon, with its own scale of the rate: max(1, rows / columns)^0.5. */
void muon_step(size count, float *const *weights, const float *const *gradients, float *const *momenta, const size *rows,
               const size *columns, double lr, double momentum, double decay, size nesterov, double a, double b,
               double c, size steps, double eps, float *scratch) {
    Iteration it = {a, b, c, steps};
    for (size i = 0; i < count; i++) {
        size height = up_to(rows[i], LANES), padded = up_to(columns[i], LANES);
        momentum_step(momenta[i], gradients[i], rows[i], columns[i], momentum, nesterov, eps, scratch);
        const float *update = orthogonalised(scratch, height, padded, &it, scratch + height * padded);
        float rate = lr * sqrt(fmax(1, (double)rows[i] / columns[i])), kept = 1 - lr * decay;
        for (size r = 0; r < rows[i]; r++)
            for (size k = 0; k < columns[i]; k++) {
                float *weight = weights[i] + r * columns[i] + k;
                *weight = *weight * kept - rate * update[r * padded + k];
            }
    }
}
