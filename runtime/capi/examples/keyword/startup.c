/* From reset to main() on a Cortex-M4 with FPU, and out of a debugger's semihosting again when main() returns. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* Where the stack is watched, and what it is painted with. */
#define STACK_WORDS (32 * 1024 / sizeof(uint32_t))
#define PAINT 0x5ca1ab1eu

/* Of the linker script. */
extern uint32_t stack_top[], data_start[], data_end[], data_in_flash[], bss_start[], bss_end[];

/* Of newlib's librdimon: opens the debugger's console as stdout. */
void initialise_monitor_handles(void);
int main(void);
void reset(void);

/* Newlib runs these around main() where a C++ runtime needs them. */
void _init(void)
{
}

void _fini(void)
{
}

void reset(void)
{
    /* Coprocessor access control: full access to the FPU (Armv7-M manual, B3.2.20), before the first float. */
    *(volatile uint32_t *)0xe000ed88u |= 0xfu << 20;
    __asm__ volatile("dsb\n isb" ::: "memory");
    const uint32_t *from = data_in_flash;
    for (uint32_t *to = data_start; to < data_end;)
        *to++ = *from++;
    for (uint32_t *to = bss_start; to < bss_end;)
        *to++ = 0;
    initialise_monitor_handles();

    /* The stack below this function is painted, to see how far main() comes down. */
    volatile uint32_t *lowest = stack_top - STACK_WORDS, *here;
    __asm__ volatile("mov %0, sp" : "=r"(here));
    for (volatile uint32_t *word = lowest; word < here; word++)
        *word = PAINT;
    int status = main();
    while (lowest < here && *lowest == PAINT)
        lowest++;
    fprintf(stderr, "stack: %lu bytes\n", (unsigned long)((uintptr_t)stack_top - (uintptr_t)lowest));
    exit(status);
}

/* Tells the debugger, in place of hanging silently: SYS_WRITE0, then SYS_EXIT with a run-time error. */
static void fault(void)
{
    register uint32_t operation __asm__("r0") = 0x04;
    register const void *argument __asm__("r1") = "fault\n";
    __asm__ volatile("bkpt 0xab" : "+r"(operation) : "r"(argument) : "memory");
    operation = 0x18;
    argument = (const void *)0x20023;
    __asm__ volatile("bkpt 0xab" : "+r"(operation) : "r"(argument) : "memory");
    for (;;)
        ;
}

/* The stack, then the handlers of reset, NMI and all faults; no interrupt is switched on. */
__attribute__((section(".vectors"), used)) static const struct {
    uint32_t *stack;
    void (*handlers[15])(void);
} vectors = {stack_top, {reset, fault, fault, fault, fault, fault, 0, 0, 0, 0, fault, fault, 0, fault, fault}};
