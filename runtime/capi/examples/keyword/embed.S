/* The plan and the recording as read-only data: -DPLAN='"model.cyg"' -DSOUND='"sound.wav"', the latter may be left out. */
    .section .rodata
    .global plan_start, plan_end
    .balign 16
plan_start:
    .incbin PLAN
plan_end:
#ifdef SOUND
    .global sound_start, sound_end
    .balign 16
sound_start:
    .incbin SOUND
sound_end:
#endif
    .balign 4
#ifdef __linux__
    .section .note.GNU-stack, "", %progbits
#endif
