/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What differs between the compilers core meets: integer types, inlining, atomic adds. Everything
 * else in core is plain C11. Little-endian hosts only, asserted here, because records are shared
 * with numpy dtypes as they lie in memory.
 */
#ifndef NS_PORT_H
#define NS_PORT_H

typedef __UINT8_TYPE__ ns_u8;
typedef __UINT16_TYPE__ ns_u16;
typedef __UINT32_TYPE__ ns_u32;
typedef __UINT64_TYPE__ ns_u64;

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "records are little-endian");

#define NS_INLINE static inline __attribute__((always_inline, unused))

/* What nearly every packet does is laid out in one piece, the rest behind it: a program that the
 * kernel runs between two packets' other work finds little of itself in the caches. */
#define NS_LIKELY(condition)   __builtin_expect(!!(condition), 1)
#define NS_UNLIKELY(condition) __builtin_expect(!!(condition), 0)

/* Keeps the compiler from moving memory accesses across it; the CPU that interrupts itself sees
 * its own stores in program order, so no fence is needed (see flowtable.h, "Re-entrancy"). */
NS_INLINE void ns_compiler_barrier(void)
{
	__asm__ volatile("" ::: "memory");
}

/*
 * Mask a value even where the compiler can prove the mask needless and would drop it: verifiers
 * before 6.10 forget all bounds at an OR of two values they do not know exactly
 * (adjust_scalar_min_max_vals() in kernel/bpf/verifier.c), and compilers turn adds of disjoint bits
 * into ORs.
 */
NS_INLINE ns_u64 ns_mask(ns_u64 value, ns_u64 mask)
{
#ifdef __bpf__
	__asm__ volatile("" : "+r"(value));
#endif
	return value & mask;
}

#if defined(__bpf__) || defined(NS_SHARED)
/* An add that no interrupt can split. Its result is never used: kernels before 5.12 know only the
 * BPF atomic add that returns nothing (kernel commit 5ffa25502b5a). */
NS_INLINE void ns_atomic_add64(ns_u64 *at, ns_u64 value)
{
	(void)__sync_fetch_and_add(at, value);
}

NS_INLINE void ns_atomic_add32(ns_u32 *at, ns_u32 value)
{
	(void)__sync_fetch_and_add(at, value);
}
#else
/* The native build owns its table alone. */
NS_INLINE void ns_atomic_add64(ns_u64 *at, ns_u64 value)
{
	*at += value;
}

NS_INLINE void ns_atomic_add32(ns_u32 *at, ns_u32 value)
{
	*at += value;
}
#endif

NS_INLINE ns_u64 ns_load64(const ns_u64 *at)
{
	return *(const volatile ns_u64 *)at;
}

NS_INLINE ns_u32 ns_load32(const ns_u32 *at)
{
	return *(const volatile ns_u32 *)at;
}

/*
 * The 64-bit word @index of what ns_view_words() gave, which need not be aligned. Kernels allow
 * that where the CPU does; elsewhere they align IP headers to four bytes.
 */
NS_INLINE ns_u64 ns_word(const ns_u8 *words, ns_u32 index)
{
#ifdef __bpf__
	return ((const ns_u64 *)words)[index];
#else
	ns_u64 word;

	__builtin_memcpy(&word, words + 8 * index, sizeof(word));
	return word;
#endif
}

/* Header fields are read byte by byte: no alignment is assumed of a packet. */
NS_INLINE ns_u16 ns_read_be16(const ns_u8 *at)
{
	return (ns_u16)((ns_u16)at[0] << 8 | at[1]);
}

#endif
