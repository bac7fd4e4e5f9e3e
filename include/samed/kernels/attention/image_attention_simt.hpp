// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <limits>

#include <samed/backend/simt_context.hpp>
#include <samed/core/simt_vector.hpp>
#include <samed/kernels/attention/attention.hpp>

namespace samed::kernels {

/// The keys of a window, or of the whole grid, as tiles of 64 slots: `down` rows of `across` columns, a power of two. So 8 neighbouring
/// slots share a row, and tiles below each other share their columns: the column's part of a bias stays in registers. Slots outside
/// the window hold no key; a window of 14 x 14 takes 4 tiles, as its 196 keys in a row would.
struct KeyTiles {
    static constexpr int slots = 64;
    int rows, columns;  ///< of the window, real and padded
    int log2_across = 3;

    SAMED_HOST_DEVICE KeyTiles(int height, int width, int window) : rows(window ? window : height), columns(window ? window : width) {
        while (across() < columns && across() < slots) ++log2_across;
    }
    SAMED_HOST_DEVICE int across() const { return 1 << log2_across; }
    SAMED_HOST_DEVICE int down() const { return slots >> log2_across; }
    SAMED_HOST_DEVICE int stacked() const { return (rows + down() - 1) / down(); }
    SAMED_HOST_DEVICE int count() const { return stacked() * ((columns + across() - 1) / across()); }
    SAMED_HOST_DEVICE int top(int tile) const { return tile % stacked() * down(); }
    SAMED_HOST_DEVICE int left(int tile) const { return tile / stacked() * across(); }
    SAMED_HOST_DEVICE int row(int slot) const { return slot >> log2_across; }
    SAMED_HOST_DEVICE int column(int slot) const { return slot & (across() - 1); }
};

/// A block's work: one head of one window, `per_block` of its real tokens as queries. Windows are gathered by index, never copied.
template <class T>
struct AttentionWindow {
    ImageAttentionArgs<T> const& a;
    KeyTiles tiles;
    int head, batch, top, left, real_rows, real_columns;
    int first;  ///< query of the block, in row-major order of the real tokens

    static simt::Grid grid(ImageAttentionArgs<T> const& a, int per_block) {
        KeyTiles const t(a.height, a.width, a.window);
        int const windows = ((a.height + t.rows - 1) / t.rows) * ((a.width + t.columns - 1) / t.columns);
        return {static_cast<unsigned>(windows * parts(a, t, per_block)), static_cast<unsigned>(a.heads), static_cast<unsigned>(a.batch)};
    }
    template <class S>
    SAMED_DEVICE AttentionWindow(S& s, ImageAttentionArgs<T> const& args, int per_block)
        : a(args), tiles(a.height, a.width, a.window), head(s.block_y()), batch(s.block_z()) {
        int const share = parts(a, tiles, per_block), window = s.block_x() / share;
        int const windows_across = (a.width + tiles.columns - 1) / tiles.columns;
        top = window / windows_across * tiles.rows;
        left = window % windows_across * tiles.columns;
        real_rows = least(tiles.rows, a.height - top);
        real_columns = least(tiles.columns, a.width - left);
        first = s.block_x() % share * per_block;
    }
    SAMED_DEVICE int queries() const { return real_rows * real_columns; }
    /// Rows of a block beyond the last query repeat it, and are not written.
    SAMED_DEVICE int query(int row) const { return least(first + row, queries() - 1); }
    SAMED_DEVICE bool real(int row) const { return first + row < queries(); }
    SAMED_DEVICE std::int64_t token(int query) const { return token(query / real_columns, query % real_columns); }
    SAMED_DEVICE T const* q(int query) const { return a.qkv + token(query) * 3 * width() + channel(); }
    SAMED_DEVICE T const* k(int y, int x) const { return key(y, x, width(), a.pad_key); }
    SAMED_DEVICE T const* v(int y, int x) const { return key(y, x, 2 * width(), a.pad_value); }
    SAMED_DEVICE T* out(int query) const { return a.out + token(query) * width() + channel(); }
    SAMED_DEVICE T* log_sum_exp(int query) const {
        std::int64_t const grid = std::int64_t{a.height} * a.width;
        return a.log_sum_exp + head * grid + token(query) + (a.heads - 1) * batch * grid;
    }
    /// Of a query and a key in the window.
    SAMED_DEVICE float table_bias(int query, int ky, int kx) const {
        int const dy = std::abs(query / real_columns - ky), dx = std::abs(query % real_columns - kx);
        return simt::load(a.bias_table[(head * tiles.rows + dy) * tiles.columns + dx]);
    }

private:
    SAMED_HOST_DEVICE static int least(int x, int y) { return x < y ? x : y; }
    /// Blocks of a window; one at the grid's edge may need fewer.
    SAMED_HOST_DEVICE static int parts(ImageAttentionArgs<T> const& a, KeyTiles const& t, int per_block) {
        return (least(t.rows, a.height) * least(t.columns, a.width) + per_block - 1) / per_block;
    }
    SAMED_DEVICE std::int64_t width() const { return std::int64_t{a.heads} * a.head_dim; }
    SAMED_DEVICE std::int64_t channel() const { return std::int64_t{head} * a.head_dim; }
    SAMED_DEVICE std::int64_t token(int y, int x) const { return (std::int64_t{batch} * a.height + top + y) * a.width + left + x; }
    /// Null where the slot holds no key.
    SAMED_DEVICE T const* key(int y, int x, std::int64_t part, T const* pad) const {
        if (y >= tiles.rows || x >= tiles.columns) return nullptr;
        return (y < real_rows && x < real_columns ? a.qkv + token(y, x) * 3 * width() + part : pad) + channel();
    }
};

/// On tensor cores, for 16-bit storage: a warp has 16 queries, their scores and outputs stay in the fragments of `mma`, in f32. Softmax
/// runs along with the tiles, on scores times log2(e). A tile of keys and one of values are in shared memory, the next ones on their
/// way in registers.
///
/// The relative position of a query and all key rows (columns) is a product with the table's rows, then shifted by the query's row
/// (column): done once for a block, on tensor cores too.
///
/// @tparam table  with `bias_table`, which is read where it is needed
template <class T, int head_dim, bool table = false>
struct ImageAttentionMmaKernel {
    using Args = ImageAttentionArgs<T>;
    static constexpr int threads = 128, queries = threads / simt::warp * 16, slots = KeyTiles::slots;
    static constexpr int steps = head_dim / 16;
    static constexpr int stride = head_dim + 8;  // the eight rows of a matrix then lie in different banks
    static constexpr float log2_e = 1.44269504f, no_key = -std::numeric_limits<float>::infinity();
    static_assert(head_dim % 16 == 0);

    /// Two tiles, then a row of biases for each query. Those of columns, once in registers, make place for those of rows.
    static std::size_t shared_bytes(Args const& a) {
        KeyTiles const t(a.height, a.width, a.window);
        int const wide = t.columns > t.across() ? bank_free(t.columns) : 0;
        int const biases = a.rel_pos_h ? std::max(bank_free(t.rows) + wide, bank_free(t.columns)) : 0;
        return 2 * sizeof(T) * slots * stride + sizeof(float) * queries * std::size_t(biases);
    }
    static bool takes(Args const& a) {
        return a.head_dim == head_dim && (a.bias_table != nullptr) == table && shared_bytes(a) <= std::size_t{99} << 10 &&
               simt::in_vectors<T>({}, {a.qkv, a.rel_pos_h, a.rel_pos_w, a.pad_key, a.pad_value, a.out});
    }

    template <class S>
    SAMED_DEVICE static void run(S& s, Args const& a) {
        AttentionWindow<T> const w(s, a, queries);
        if (!w.real(0)) return;
        KeyTiles const& t = w.tiles;
        T *const k_tile = reinterpret_cast<T*>(s.shared()), *const v_tile = k_tile + slots * stride;
        float* const biases = reinterpret_cast<float*>(v_tile + slots * stride);
        int const lane = s.thread() % simt::warp, warp_row = s.thread() / simt::warp * 16;
        bool const busy = w.real(warp_row);
        // Fragments: the lane has rows row and row + 8, and two of every 8 columns.
        int const row = warp_row + lane / 4, pair = lane % 4 * 2;
        int y[2], x[2];
        for (int r = 0; r < 2; ++r) {
            y[r] = w.query(row + 8 * r) / w.real_columns;
            x[r] = w.query(row + 8 * r) % w.real_columns;
        }

        Eight staged[steps];
        read(s.thread(), staged, [&](int i) { return w.q(w.query(i)); });
        write(s.thread(), staged, v_tile);
        s.sync();
        std::uint32_t q[steps][4];
        for (int i = 0; i < steps; ++i) s.load_matrices(q[i], v_tile + (warp_row + lane % 16) * stride + 16 * i + lane / 16 * 8);

        bool const relative = !table && a.rel_pos_h, wide = t.columns > t.across();
        int const h_stride = bank_free(t.rows), w_stride = bank_free(t.columns);
        float *const h = biases + row * h_stride, *const columns = biases + (wide ? queries * h_stride : 0) + row * w_stride;
        float column_bias[2][slots / 8][2];
        auto const take_columns = [&](int left) {
            for (int r = 0; r < 2; ++r)
                for (int j = 0; j < slots / 8; ++j)
                    for (int c = 0; c < 2; ++c) {
                        int const kx = left + t.column(8 * j + pair + c);
                        column_bias[r][j][c] = kx >= t.columns ? no_key : relative ? columns[8 * r * w_stride + kx] : 0;
                    }
        };
        if (relative) {
            int const top = w.query(0) / w.real_columns, bottom = w.query(queries - 1) / w.real_columns;
            bool const one_row = top == bottom;
            int const left = one_row ? w.query(0) % w.real_columns : 0;
            int const right = one_row ? w.query(queries - 1) % w.real_columns : w.real_columns - 1;
            relative_bias(s, q, busy, a.rel_pos_w, t.columns, left, right, x, k_tile, columns, w_stride);
            if (!wide) {
                s.sync_warp();
                take_columns(0);
            }
            relative_bias(s, q, busy, a.rel_pos_h, t.rows, top, bottom, y, k_tile, h, h_stride);
        } else if (!table && !wide) {
            take_columns(0);
        }

        auto const read_keys = [&](int tile) {
            int const top = t.top(tile), left = t.left(tile);
            read(s.thread(), staged, [&](int slot) { return w.k(top + t.row(slot), left + t.column(slot)); });
        };
        auto const read_values = [&](int tile) {
            int const top = t.top(tile), left = t.left(tile);
            read(s.thread(), staged, [&](int slot) { return w.v(top + t.row(slot), left + t.column(slot)); });
        };
        float const scale = a.scale * log2_e;
        float largest[2] = {no_key, no_key}, sum[2] = {}, out[head_dim / 8][4] = {};
        read_keys(0);
        s.sync();  // relative_bias has read its last tile
        write(s.thread(), staged, k_tile);
        s.sync();
        for (int tile = 0; tile < t.count(); ++tile) {
            int const top = t.top(tile), left = t.left(tile);
            read_values(tile);
            float score[slots / 8][4] = {};
            if (busy)
                for (int i = 0; i < steps; ++i)
                    for (int j = 0; j < slots / 8; j += 2) multiply(s, score[j], score[j + 1], q[i], k_tile + 8 * j * stride + 16 * i);
            write(s.thread(), staged, v_tile);
            s.sync();
            if (tile + 1 < t.count()) read_keys(tile + 1);
            if (busy) {
                if (!table && wide && top == 0) take_columns(left);
                for (int j = 0; j < slots / 8; ++j)
                    for (int e = 0; e < 4; ++e) {
                        int const r = e / 2, ky = top + t.row(8 * j), kx = left + t.column(8 * j + pair + e % 2);
                        float bias = no_key;
                        if constexpr (table) {
                            if (ky < t.rows && kx < t.columns) bias = log2_e * w.table_bias(w.query(row + 8 * r), ky, kx);
                        } else if (ky < t.rows) {
                            bias = column_bias[r][j][e % 2] + (relative ? h[8 * r * h_stride + ky] : 0);
                        }
                        score[j][e] = std::fma(score[j][e], scale, bias);
                    }
                for (int r = 0; r < 2; ++r) {
                    float top_score = largest[r];  // every tile has a key in its first slot: finite from here on
                    for (int j = 0; j < slots / 8; ++j)
                        for (int c = 0; c < 2; ++c) top_score = std::fmax(top_score, score[j][2 * r + c]);
                    top_score = std::fmax(top_score, s.shuffle_xor(top_score, 1));
                    top_score = std::fmax(top_score, s.shuffle_xor(top_score, 2));
                    float const shrink = exp2(largest[r] - top_score);
                    largest[r] = top_score;
                    sum[r] *= shrink;
                    for (int j = 0; j < slots / 8; ++j)
                        for (int c = 0; c < 2; ++c) sum[r] += score[j][2 * r + c] = exp2(score[j][2 * r + c] - top_score);
                    for (int j = 0; j < head_dim / 8; ++j)
                        for (int c = 0; c < 2; ++c) out[j][2 * r + c] *= shrink;
                }
                for (int i = 0; i < slots / 16; ++i) {
                    auto const& low = score[2 * i];
                    auto const& high = score[2 * i + 1];
                    std::uint32_t const p[4] = {simt::pack<T>(low[0], low[1]), simt::pack<T>(low[2], low[3]),
                                                simt::pack<T>(high[0], high[1]), simt::pack<T>(high[2], high[3])};
                    for (int j = 0; j < head_dim / 8; j += 2) {
                        std::uint32_t v[4];
                        s.load_matrices_transposed(v, v_tile + (16 * i + lane % 16) * stride + 8 * j + lane / 16 * 8);
                        std::uint32_t const b[2][2] = {{v[0], v[1]}, {v[2], v[3]}};
                        s.mma(out[j], p, b[0], T{});
                        s.mma(out[j + 1], p, b[1], T{});
                    }
                }
            }
            if (tile + 1 < t.count()) write(s.thread(), staged, k_tile);
            s.sync();
        }
        if (!busy) return;
        for (int r = 0; r < 2; ++r) {
            sum[r] += s.shuffle_xor(sum[r], 1);
            sum[r] += s.shuffle_xor(sum[r], 2);
            if (!w.real(row + 8 * r)) continue;
            int const query = w.query(row + 8 * r);
            float const inverse = 1.0f / sum[r];
            T* const to = w.out(query) + pair;
            for (int j = 0; j < head_dim / 8; ++j)
                *reinterpret_cast<Two*>(to + 8 * j) = {simt::store<T>(out[j][2 * r] * inverse),
                                                       simt::store<T>(out[j][2 * r + 1] * inverse)};
            if (a.log_sum_exp && pair == 0) *w.log_sum_exp(query) = simt::store<T>((largest[r] + std::log2(sum[r])) / log2_e);
        }
    }

private:
    struct alignas(16) Eight {
        T values[8];
    };
    struct alignas(4) Two {
        T low, high;
    };

    /// An odd length: the same column of different rows lies in different banks.
    SAMED_HOST_DEVICE static constexpr int bank_free(int length) { return length | 1; }

    /// Denormal results are zero: they vanish beside the largest, which is 1.
    SAMED_DEVICE static float exp2(float x) {
#if defined(__CUDA_ARCH__)
        float y;
        asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
        return y;
#else
        return std::exp2(x);
#endif
    }

    /// A thread's part of 64 rows, given by address; a null one is zeros: no NaN of old memory meets a probability of zero.
    template <class Row>
    SAMED_DEVICE static void read(int thread, Eight (&part)[steps], Row const& row) {
        for (int i = 0; i < steps; ++i) {
            int const at = thread + i * threads;
            T const* const from = row(at / (head_dim / 8));
            part[i] = from ? *reinterpret_cast<Eight const*>(from + at % (head_dim / 8) * 8) : Eight{};
        }
    }
    SAMED_DEVICE static void write(int thread, Eight const (&part)[steps], T* tile) {
        for (int i = 0; i < steps; ++i) {
            int const at = thread + i * threads;
            *reinterpret_cast<Eight*>(tile + at / (head_dim / 8) * stride + at % (head_dim / 8) * 8) = part[i];
        }
    }

    /// 16 queries times 16 rows of `tile`, over 16 channels.
    template <class S>
    SAMED_DEVICE static void multiply(S& s, float (&low)[4], float (&high)[4], std::uint32_t const (&q)[4], T const* tile) {
        int const lane = s.thread() % simt::warp;
        std::uint32_t k[4];
        s.load_matrices(k, tile + (lane / 16 * 8 + lane % 8) * stride + lane % 16 / 8 * 8);
        std::uint32_t const b[2][2] = {{k[0], k[1]}, {k[2], k[3]}};
        s.mma(low, q, b[0], T{});
        s.mma(high, q, b[1], T{});
    }

    /// bias[k] = log2(e) * q . rel_pos[at - k + size - 1] for k in [0, size), for the lane's two queries; those of the block lie from
    /// `low` to `high`.
    /// @param bias  of the lane's first row; rows `bias_stride` apart
    template <class S>
    SAMED_DEVICE static void relative_bias(S& s, std::uint32_t const (&q)[steps][4], bool busy, T const* rel_pos, int size, int low,
                                           int high, int const (&at)[2], T* tile, float* bias, int bias_stride) {
        int const pair = s.thread() % 4 * 2, last = high + size - 1;
        Eight staged[steps];
        for (int begin = low; begin <= last; begin += slots) {
            read(s.thread(), staged, [&](int i) { return begin + i <= last ? rel_pos + std::int64_t{begin + i} * head_dim : nullptr; });
            s.sync();
            write(s.thread(), staged, tile);
            s.sync();
            if (!busy) continue;
            for (int j = 0; j < slots && begin + j <= last; j += 16) {
                float product[2][4] = {};
                for (int i = 0; i < steps; ++i) multiply(s, product[0], product[1], q[i], tile + j * stride + 16 * i);
                for (int half = 0; half < 2; ++half)
                    for (int e = 0; e < 4; ++e) {
                        int const k = at[e / 2] + size - 1 - (begin + j + 8 * half + pair + e % 2);
                        if (k >= 0 && k < size) bias[e / 2 * 8 * bias_stride + k] = product[half][e] * log2_e;
                    }
            }
        }
    }
};

/// In f32 with fused multiply-adds: every storage, any size of the grid, head_dim up to `channels`. 32 queries and 64 keys a tile, a
/// thread has 4 x 4 scores and 4 rows of every 16th channel of the output. Keys, then values, are in shared memory as f32.
template <class T, int channels>
struct ImageAttentionFmaKernel {
    using Args = ImageAttentionArgs<T>;
    static constexpr int threads = 128, queries = 32, slots = KeyTiles::slots;
    static constexpr int stride = channels + 4, p_stride = slots + 4, w_stride = slots + 1, h_stride = slots / 8;
    static constexpr float no_key = -std::numeric_limits<float>::infinity();
    static_assert(channels % 16 == 0);

    static std::size_t shared_bytes(Args const&) {
        return sizeof(float) * ((queries + slots) * stride + queries * (p_stride + w_stride + h_stride));
    }

    template <class S>
    SAMED_DEVICE static void run(S& s, Args const& a) {
        AttentionWindow<T> const w(s, a, queries);
        if (!w.real(0)) return;
        KeyTiles const& t = w.tiles;
        float *const q = reinterpret_cast<float*>(s.shared()), *const kv = q + queries * stride, *const p = kv + slots * stride;
        float *const column_bias = p + queries * p_stride, *const row_bias = column_bias + queries * w_stride;
        int const column = s.thread() % 16, first = s.thread() / 16 * 4;  // the thread's rows, and slots or channels column + 16 i
        read(s.thread(), queries, a.head_dim, q, [&](int i) { return w.q(w.query(i)); });
        float largest[4] = {no_key, no_key, no_key, no_key}, sum[4] = {}, out[4][channels / 16] = {};
        for (int tile = 0; tile < t.count(); ++tile) {
            int const top = t.top(tile), left = t.left(tile);
            s.sync();  // the queries are there; the last tile's values have been read
            read(s.thread(), slots, a.head_dim, kv, [&](int slot) { return w.k(top + t.row(slot), left + t.column(slot)); });
            if (a.rel_pos_h) {
                for (int i = s.thread(); i < queries * t.across() && top == 0; i += threads) {
                    int const row = i >> t.log2_across, kx = left + t.column(i), qx = w.query(row) % w.real_columns;
                    if (kx < t.columns)
                        column_bias[row * w_stride + t.column(i)] = dot(q + row * stride, a.rel_pos_w, qx - kx + t.columns - 1, a.head_dim);
                }
                for (int i = s.thread(); i < queries * t.down(); i += threads) {
                    int const row = i / t.down(), ky = top + i % t.down(), qy = w.query(row) / w.real_columns;
                    if (ky < t.rows)
                        row_bias[row * h_stride + i % t.down()] = dot(q + row * stride, a.rel_pos_h, qy - ky + t.rows - 1, a.head_dim);
                }
            }
            s.sync();
            float score[4][4] = {};
            for (int d = 0; d < a.head_dim; d += 4) {
                Four k[4];
                for (int c = 0; c < 4; ++c) k[c] = four(kv + (column + 16 * c) * stride + d);
                for (int r = 0; r < 4; ++r) {
                    Four const qr = four(q + (first + r) * stride + d);
                    for (int c = 0; c < 4; ++c)
                        for (int e = 0; e < 4; ++e) score[r][c] = std::fma(qr.values[e], k[c].values[e], score[r][c]);
                }
            }
            for (int c = 0; c < 4; ++c) {
                int const slot = column + 16 * c, y = t.row(slot), x = t.column(slot);
                bool const key = top + y < t.rows && left + x < t.columns;
                for (int r = 0; r < 4; ++r) {
                    float const bias = a.rel_pos_h ? row_bias[(first + r) * h_stride + y] + column_bias[(first + r) * w_stride + x] : 0;
                    score[r][c] = key ? std::fma(score[r][c], a.scale, bias) : no_key;
                    if (key && a.bias_table) score[r][c] += w.table_bias(w.query(first + r), top + y, left + x);
                }
            }
            for (int r = 0; r < 4; ++r) {
                float top_score = largest[r];  // every tile has a key in its first slot: finite from here on
                for (int c = 0; c < 4; ++c) top_score = std::fmax(top_score, score[r][c]);
                for (int lanes = 8; lanes > 0; lanes /= 2) top_score = std::fmax(top_score, s.shuffle_xor(top_score, lanes));
                float const shrink = std::exp(largest[r] - top_score);
                largest[r] = top_score;
                sum[r] *= shrink;
                for (int c = 0; c < 4; ++c) {
                    sum[r] += score[r][c] = std::exp(score[r][c] - top_score);
                    p[(first + r) * p_stride + column + 16 * c] = score[r][c];
                }
                for (float& o : out[r]) o *= shrink;
            }
            s.sync();
            read(s.thread(), slots, a.head_dim, kv, [&](int slot) { return w.v(top + t.row(slot), left + t.column(slot)); });
            s.sync();
            for (int slot = 0; slot < slots; slot += 4) {
                Four pr[4];
                for (int r = 0; r < 4; ++r) pr[r] = four(p + (first + r) * p_stride + slot);
                for (int e = 0; e < 4; ++e)
                    for (int c = 0; c < channels / 16; ++c) {
                        float const v = kv[(slot + e) * stride + column + 16 * c];
                        for (int r = 0; r < 4; ++r) out[r][c] = std::fma(pr[r].values[e], v, out[r][c]);
                    }
            }
        }
        for (int r = 0; r < 4; ++r) {
            for (int lanes = 8; lanes > 0; lanes /= 2) sum[r] += s.shuffle_xor(sum[r], lanes);
            if (!w.real(first + r)) continue;
            int const query = w.query(first + r);
            for (int c = 0; c < channels / 16; ++c)
                if (column + 16 * c < a.head_dim) w.out(query)[column + 16 * c] = simt::store<T>(out[r][c] / sum[r]);
            if (a.log_sum_exp && column == 0) *w.log_sum_exp(query) = simt::store<T>(largest[r] + std::log(sum[r]));
        }
    }

private:
    struct alignas(16) Four {
        float values[4];
    };
    SAMED_DEVICE static Four four(float const* from) { return *reinterpret_cast<Four const*>(from); }

    /// Rows given by address as f32; zeros beyond head_dim and for a null one: no NaN of old memory meets a probability of zero.
    template <class Row>
    SAMED_DEVICE static void read(int thread, int rows, int head_dim, float* to, Row const& row) {
        for (int i = thread; i < rows * channels; i += threads) {
            int const d = i % channels;
            T const* const from = row(i / channels);
            to[i / channels * stride + d] = from && d < head_dim ? simt::load(from[d]) : 0;
        }
    }
    SAMED_DEVICE static float dot(float const* q, T const* rel_pos, int row, int head_dim) {
        T const* const r = rel_pos + std::int64_t{row} * head_dim;
        float sum = 0;
        for (int d = 0; d < head_dim; ++d) sum = std::fma(q[d], simt::load(r[d]), sum);
        return sum;
    }
};

template <SimtContext C>
void image_attention(C& c, ImageAttentionArgs<typename C::Scalar> const& a) {
    using T = typename C::Scalar;
    SAMED_ASSERT(a.head_dim <= 128);
    if (a.batch == 0 || a.height == 0 || a.width == 0) return;
    auto const launch = [&]<class Kernel>(Kernel) { c.template launch<Kernel>(AttentionWindow<T>::grid(a, Kernel::queries), a); };
    if constexpr (!std::is_same_v<T, float>) {
        if (ImageAttentionMmaKernel<T, 32>::takes(a)) return launch(ImageAttentionMmaKernel<T, 32>{});
        if (ImageAttentionMmaKernel<T, 64>::takes(a)) return launch(ImageAttentionMmaKernel<T, 64>{});
        if (ImageAttentionMmaKernel<T, 80>::takes(a)) return launch(ImageAttentionMmaKernel<T, 80>{});
        if (ImageAttentionMmaKernel<T, 32, true>::takes(a)) return launch(ImageAttentionMmaKernel<T, 32, true>{});  // TinyViT
    }
    if (a.head_dim <= 32) return launch(ImageAttentionFmaKernel<T, 32>{});
    if (a.head_dim <= 64) return launch(ImageAttentionFmaKernel<T, 64>{});
    if (a.head_dim <= 80) return launch(ImageAttentionFmaKernel<T, 80>{});
    launch(ImageAttentionFmaKernel<T, 128>{});
}

}  // namespace samed::kernels
