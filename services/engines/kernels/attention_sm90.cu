// Attention for Hopper in 8 bits: int8 for query x key, FP8 (E4M3) for weights x value, softmax in float32.
//
// The first warpgroup of a block fetches tiles with the bulk copy engine; the others take 64 query rows each. With two
// of them one multiplies while the other does its softmax; three have registers for smaller tiles only, and fill each
// other's gaps unasked. Each overlaps its own softmax with the product of the tile before. All operands arrive
// pre-tiled: a tile in memory is the image that the matrix unit wants in shared memory, so one linear copy brings it.
//
// GROUPS (of 64 query rows), KEYS (rows of a key tile), STAGES (tiles in flight) and the MMA_* macros come from
// hopper.py.

typedef unsigned int u32;
typedef unsigned long long u64;
typedef unsigned char u8;

constexpr int HEAD = 128;              // bytes of a query or key row
constexpr int ROWS = 64 * GROUPS;      // query rows of a block
constexpr int Q_BYTES = ROWS * HEAD;
constexpr int K_BYTES = KEYS * HEAD;
constexpr int V_BYTES = HEAD * KEYS;   // values lie transposed: [KEYS / V_WIDE][HEAD][V_WIDE]
constexpr int V_WIDE = KEYS % 64 ? 32 : 64;  // keys whose values lie together
constexpr int V_GROUP = HEAD * V_WIDE;
constexpr int S = KEYS / 2;            // score registers of a thread
constexpr float MAGIC = 12582912.0f;   // 1.5 * 2^23: an integer added to its bits is that integer added to it
constexpr float WEIGHT_BITS = 8.0f;    // weights are scaled by 2^8 to use E4M3's range; the sum is scaled alike

__device__ __forceinline__ u32 shared_address(const void* p) { return (u32)__cvta_generic_to_shared(p); }

__device__ __forceinline__ void barrier_init(u32 bar, u32 count) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(bar), "r"(count));
}
__device__ __forceinline__ void barrier_expect(u32 bar, u32 bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(bar), "r"(bytes) : "memory");
}
__device__ __forceinline__ void barrier_arrive(u32 bar) {
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(bar) : "memory");
}
__device__ __forceinline__ void barrier_wait(u32 bar, u32 phase) {
    asm volatile(
        "{\n.reg .pred done;\nagain:\n"
        "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
        "@done bra.uni over;\nbra.uni again;\nover:\n}" ::"r"(bar), "r"(phase) : "memory");
}
__device__ __forceinline__ void bulk_copy(u32 to, const void* from, u32 bytes, u32 bar) {
    asm volatile(
        "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(to),
        "l"(from), "r"(bytes), "r"(bar) : "memory");
}
__device__ __forceinline__ void mma_begin() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ __forceinline__ void mma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int N> __device__ __forceinline__ void mma_wait() {
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N) : "memory");
}
// Nothing that reads or writes these registers may cross this line: the compiler does not see that they are in use.
template <int N> __device__ __forceinline__ void hold(int (&r)[N]) {
#pragma unroll
    for (int i = 0; i < N; ++i) asm volatile("" : "+r"(r[i])::"memory");
}
template <int N> __device__ __forceinline__ void hold(float (&r)[N]) {
#pragma unroll
    for (int i = 0; i < N; ++i) asm volatile("" : "+f"(r[i])::"memory");
}
// K-major operand: rows of 128 (mode 1), 64 (2) or 32 bytes (3), swizzled in groups of eight rows.
__device__ __forceinline__ u64 descriptor(u32 address, u32 row_bytes) {
    u64 d = (u64)((address & 0x3FFFF) >> 4);
    d |= (u64)1 << 16;
    d |= (u64)((row_bytes * 8) >> 4) << 32;
    d |= (u64)(row_bytes == 128 ? 1 : row_bytes == 64 ? 2 : 3) << 62;
    return d;
}
__device__ __forceinline__ float power_of_two(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
__device__ __forceinline__ u32 pack_e4m3(float a, float b, float c, float d) {
    u32 out;
    asm("{\n.reg .b16 lo, hi;\n"
        "cvt.rn.satfinite.e4m3x2.f32 lo, %2, %1;\ncvt.rn.satfinite.e4m3x2.f32 hi, %4, %3;\n"
        "mov.b32 %0, {lo, hi};\n}"
        : "=r"(out) : "f"(a), "f"(b), "f"(c), "f"(d));
    return out;
}
__device__ __forceinline__ u32 pack_bf16(float a, float b) {
    u32 out;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(out) : "f"(b), "f"(a));
    return out;
}
__device__ __forceinline__ void meet(int name) { asm volatile("bar.sync %0, 256;" ::"r"(name) : "memory"); }
__device__ __forceinline__ void let_go(int name) { asm volatile("bar.arrive %0, 256;" ::"r"(name) : "memory"); }

// scores[S] += query (shared) x key (shared); accumulated over the head's 128 bytes in four steps.
__device__ __forceinline__ void scores_mma(int (&s)[S], u64 q, u64 k) { MMA_SCORES }
// o[64] += weights (registers) x values (shared), 32 keys.
__device__ __forceinline__ void values_mma(float (&o)[64], const u32* w, u64 v) { MMA_VALUES }

__device__ __forceinline__ void multiply_scores(int (&s)[S], u64 q, u64 k) {
#pragma unroll
    for (int i = 0; i < S; ++i) s[i] = 0x4B400000;  // MAGIC's bits: no conversion to float is needed afterwards
    mma_begin();
#pragma unroll
    for (int step = 0; step < HEAD / 32; ++step) scores_mma(s, q + 2 * step, k + 2 * step);
    mma_commit();
}
__device__ __forceinline__ void multiply_values(float (&o)[64], const u32 (&w)[S / 4], u64 v) {
    mma_begin();
#pragma unroll
    for (int step = 0; step < KEYS / 32; ++step)
        values_mma(o, w + 4 * step, v + (V_WIDE == 64 ? (step / 2) * V_GROUP + (step % 2) * 32 : step * V_GROUP) / 16);
    mma_commit();
}

struct Row {
    float most = -1e30f, sum = 0.0f;
};

// Scores to weights in place; returns what the output so far must be multiplied with. Several chains at a time: a
// single one would wait for itself.
template <int HALF> __device__ __forceinline__ float soften(int (&s)[S], Row& row, float scale) {
    // A score's bits are those of a positive float, which are in order as integers are: three are compared at a time.
    int one = s[2 * HALF], other = s[4 + 2 * HALF];
#pragma unroll
    for (int i = 0; i < S; i += 8) {
        one = __vimax3_s32(one, s[i + 2 * HALF], s[i + 2 * HALF + 1]);
        other = __vimax3_s32(other, s[i + 4 + 2 * HALF], s[i + 4 + 2 * HALF + 1]);
    }
    float all = __int_as_float(max(one, other)), sum[4] = {};
    all = fmaxf(all, __shfl_xor_sync(0xffffffff, all, 1));
    all = fmaxf(all, __shfl_xor_sync(0xffffffff, all, 2));
    const float now = fmaxf(row.most, (all - MAGIC) * scale);
    const float less = power_of_two(row.most - now);
    const float offset = fmaf(MAGIC, scale, now - WEIGHT_BITS);
#pragma unroll
    for (int i = 0; i < S; i += 8)
#pragma unroll
        for (int c = 0; c < 4; ++c) {
            const int at = i + 4 * (c / 2) + 2 * HALF + c % 2;
            const float weight = power_of_two(fmaf(__int_as_float(s[at]), scale, -offset));
            s[at] = __float_as_int(weight);
            sum[c] += weight;
        }
    row.most = now;
    row.sum = fmaf(row.sum, less, (sum[0] + sum[1]) + (sum[2] + sum[3]));
    return less;
}
// The order of a register's four keys is that of the values' columns, see prepare.py.
__device__ __forceinline__ void pack(const int (&s)[S], u32 (&w)[S / 4]) {
#pragma unroll
    for (int i = 0; i < S / 16; ++i)
#pragma unroll
        for (int half = 0; half < 2; ++half)
#pragma unroll
            for (int row = 0; row < 2; ++row) {
                const int at = 16 * i + 8 * half + 2 * row;
                w[4 * i + 2 * half + row] = pack_e4m3(
                    __int_as_float(s[at]), __int_as_float(s[at + 1]), __int_as_float(s[at + 4]),
                    __int_as_float(s[at + 5]));
            }
}

extern "C" __global__ void __launch_bounds__(128 + 128 * GROUPS, 1) attention(
    const u8* __restrict__ q, const float* __restrict__ q_scale, const u8* __restrict__ k,
    const float* __restrict__ k_scale, const u8* __restrict__ v, const float* __restrict__ v_scale,
    const float* __restrict__ v_mean, u32* __restrict__ out, int rows, int keys, int out_stride) {
    extern __shared__ __align__(1024) u8 shared[];
    const u32 base = shared_address(shared);
    const u32 q_at = base, k_at = q_at + Q_BYTES, v_at = k_at + STAGES * K_BYTES;
    const u32 bars = v_at + STAGES * V_BYTES;
    const u32 q_full = bars, k_full = bars + 8, v_full = k_full + 8 * STAGES, k_free = v_full + 8 * STAGES,
              v_free = k_free + 8 * STAGES;
    const int head = blockIdx.y, tiles = (keys + KEYS - 1) / KEYS, group = threadIdx.x / 128;
    if (threadIdx.x == 0) {
        barrier_init(q_full, 1);
        for (int i = 0; i < STAGES; ++i) {
            barrier_init(k_full + 8 * i, 1);
            barrier_init(v_full + 8 * i, 1);
            barrier_init(k_free + 8 * i, 4 * GROUPS);  // one arrival a warp
            barrier_init(v_free + 8 * i, 4 * GROUPS);
        }
        asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
        asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
    }
    __syncthreads();

    if (group == 0) {
        asm volatile("setmaxnreg.dec.sync.aligned.u32 24;");
        if (threadIdx.x == 0) {
            barrier_expect(q_full, Q_BYTES);
            bulk_copy(q_at, q + ((u64)head * gridDim.x + blockIdx.x) * Q_BYTES, Q_BYTES, q_full);
            for (int tile = 0; tile < tiles; ++tile) {
                const int stage = tile % STAGES;
                const u32 phase = ((tile / STAGES) & 1) ^ 1;
                const u64 at = (u64)head * tiles + tile;
                barrier_wait(k_free + 8 * stage, phase);
                barrier_expect(k_full + 8 * stage, K_BYTES);
                bulk_copy(k_at + stage * K_BYTES, k + at * K_BYTES, K_BYTES, k_full + 8 * stage);
                barrier_wait(v_free + 8 * stage, phase);
                barrier_expect(v_full + 8 * stage, V_BYTES);
                bulk_copy(v_at + stage * V_BYTES, v + at * V_BYTES, V_BYTES, v_full + 8 * stage);
            }
        }
    } else {
        asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(GROUPS == 2 ? 240 : 160));
        const int lane = threadIdx.x & 31;
        const int row = (group - 1) * 64 + ((threadIdx.x & 127) / 32) * 16 + lane / 4;
        const float* scales = q_scale + (u64)head * gridDim.x * ROWS + blockIdx.x * ROWS + row;
        const float scale0 = scales[0], scale1 = scales[8];
        const float* key_scales = k_scale + (u64)head * tiles;
        const u64 q_desc = descriptor(q_at + (group - 1) * 64 * HEAD, 128);
        const u64 k_desc = descriptor(k_at, 128), v_desc = descriptor(v_at, V_WIDE);
        int s[S];
        u32 w[S / 4];
        float o[64];
#pragma unroll
        for (int i = 0; i < 64; ++i) o[i] = 0.0f;
        Row row0, row1;
        if (GROUPS == 2 && group == 2) let_go(1);  // the first warpgroup begins

        barrier_wait(q_full, 0);
        barrier_wait(k_full, 0);
        multiply_scores(s, q_desc, k_desc);
        mma_wait<0>();
        hold(s);
        if (lane == 0) barrier_arrive(k_free);
        const float first = __ldg(key_scales);
        soften<0>(s, row0, scale0 * first);
        soften<1>(s, row1, scale1 * first);
        pack(s, w);

#pragma unroll 1
        for (int tile = 1; tile < tiles; ++tile) {
            const int stage = tile % STAGES, before = (tile - 1) % STAGES;
            const float key_scale = __ldg(key_scales + tile);
            barrier_wait(k_full + 8 * stage, (tile / STAGES) & 1);
            if (GROUPS == 2) meet(group);
            multiply_scores(s, q_desc, k_desc + stage * (K_BYTES / 16));
            barrier_wait(v_full + 8 * before, ((tile - 1) / STAGES) & 1);
            multiply_values(o, w, v_desc + before * (V_BYTES / 16));
            if (GROUPS == 2) let_go(3 - group);
            mma_wait<1>();
            hold(s);
            if (lane == 0) barrier_arrive(k_free + 8 * stage);
            const float less0 = soften<0>(s, row0, scale0 * key_scale);
            const float less1 = soften<1>(s, row1, scale1 * key_scale);
            hold(s);
            // Never true. Without a store that needs the sums, the assembler moves the wait before the softmax.
            if (row0.sum + row1.sum < 0.0f)
                asm volatile("st.shared.f32 [%0], %1;" ::"r"(q_at), "f"(row0.sum) : "memory");
            mma_wait<0>();
            hold(o);
            if (lane == 0) barrier_arrive(v_free + 8 * before);
            if (__any_sync(0xffffffff, less0 != 1.0f || less1 != 1.0f)) {
#pragma unroll
                for (int i = 0; i < 64; i += 4) {
                    o[i] *= less0;
                    o[i + 1] *= less0;
                    o[i + 2] *= less1;
                    o[i + 3] *= less1;
                }
            }
            pack(s, w);
        }
        const int last = (tiles - 1) % STAGES;
        barrier_wait(v_full + 8 * last, ((tiles - 1) / STAGES) & 1);
        multiply_values(o, w, v_desc + last * (V_BYTES / 16));
        mma_wait<0>();
        hold(o);

        row0.sum += __shfl_xor_sync(0xffffffff, row0.sum, 1);
        row0.sum += __shfl_xor_sync(0xffffffff, row0.sum, 2);
        row1.sum += __shfl_xor_sync(0xffffffff, row1.sum, 1);
        row1.sum += __shfl_xor_sync(0xffffffff, row1.sum, 2);
        // The last tile is filled up with keys and values of zeros: they added weights of score 0, and nothing else.
        const float filled = (float)(tiles * KEYS - keys);
        const float part0 = 1.0f / (row0.sum - filled * power_of_two(WEIGHT_BITS - row0.most));
        const float part1 = 1.0f / (row1.sum - filled * power_of_two(WEIGHT_BITS - row1.most));
        const int at = blockIdx.x * ROWS + row;
        u32* line = out + (u64)at * (out_stride / 2) + head * (HEAD / 2) + (lane & 3);
#pragma unroll
        for (int i = 0; i < 16; ++i) {
            const int d = head * HEAD + 8 * i + 2 * (lane & 3);
            const float2 by = *(const float2*)(v_scale + d), mean = *(const float2*)(v_mean + d);
            if (at < rows)
                line[4 * i] = pack_bf16(fmaf(o[4 * i] * part0, by.x, mean.x), fmaf(o[4 * i + 1] * part0, by.y, mean.y));
            if (at + 8 < rows)
                line[4 * i + 4 * out_stride] = pack_bf16(
                    fmaf(o[4 * i + 2] * part1, by.x, mean.x), fmaf(o[4 * i + 3] * part1, by.y, mean.y));
        }
    }
}
