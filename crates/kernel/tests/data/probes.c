/* A library with two USDT probes, one of them with a semaphore and three
 * arguments, and functions to find. The notes are written as sys/sdt.h writes them. */

#define PROBE(provider, name, semaphore, args)                                 \
	__asm__ volatile("990: nop\n"                                          \
			 ".pushsection .note.stapsdt,\"\",\"note\"\n"          \
			 ".balign 4\n"                                         \
			 ".4byte 992f-991f, 994f-993f, 3\n"                    \
			 "991: .asciz \"stapsdt\"\n"                           \
			 "992: .balign 4\n"                                    \
			 "993: .8byte 990b\n"                                  \
			 ".8byte _.stapsdt.base\n"                             \
			 ".8byte " semaphore "\n"                              \
			 ".asciz \"" provider "\"\n"                           \
			 ".asciz \"" name "\"\n"                               \
			 ".asciz \"" args "\"\n"                               \
			 "994: .balign 4\n"                                    \
			 ".popsection\n"                                       \
			 ".ifndef _.stapsdt.base\n"                            \
			 ".pushsection .stapsdt.base,\"aG\",\"progbits\",.stapsdt.base,comdat\n" \
			 ".weak _.stapsdt.base\n"                              \
			 ".hidden _.stapsdt.base\n"                            \
			 "_.stapsdt.base: .space 1\n"                          \
			 ".size _.stapsdt.base, 1\n"                           \
			 ".popsection\n"                                       \
			 ".endif\n")

__attribute__((section(".probes"), visibility("hidden"), used)) volatile unsigned short shop_sold_semaphore;

int shop_stock = 7;

__attribute__((noinline)) static int shop_hidden(int amount)
{
	__asm__ volatile("" : "+r"(amount));
	return amount + shop_stock;
}

int shop_open(int amount)
{
	PROBE("shop", "opened", "0", "");
	return shop_hidden(amount);
}

int shop_sell(int amount)
{
	PROBE("shop", "sold", "shop_sold_semaphore", "-4@%edi 8@-16(%rbp) 4@$42");
	return shop_hidden(amount) * 2;
}
