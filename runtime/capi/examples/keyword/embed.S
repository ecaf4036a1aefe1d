/* The plan and the recording as read-only data: -DPLAN='"model.cyg"' -DSOUND='"sound.wav"' (may be left out). */
    .section .rodata.plan, "a"
    .global plan_start, plan_end
    .balign 16
plan_start:
    .incbin PLAN
plan_end:
#ifdef SOUND
    .section .rodata.sound, "a"
    .global sound_start, sound_end
    .balign 16
sound_start:
    .incbin SOUND
sound_end:
#endif
#ifdef __linux__
    .section .note.GNU-stack, "", %progbits
#endif
