export const ID_PATTERN = /^[a-z][a-z0-9-]{0,62}$/
/** EC2's own forms: 8 digits (before 2016) and 17. */
export const AMI_PATTERN = /^ami-(?:[0-9a-f]{8}|[0-9a-f]{17})$/
export const REQUEST_ID_PATTERN = /^[A-Za-z0-9][A-Za-z0-9-]{7,63}$/
/** A run's id is a number, and replaces the request id of a run without one. */
export const NOT_A_NUMBER_PATTERN = /[^0-9]/
/** RFC 6238, as authenticators show it. */
export const CODE_PATTERN = /^[0-9]{6}$/
/** The last deploy of a page of the history: time of its request (milliseconds), run (0: none), id. */
export const CURSOR_PATTERN = /^([0-9]{1,13})-([0-9]{1,15})-([A-Za-z0-9][A-Za-z0-9-]{0,63})$/
/** A person's name as chats show it: one line, no control characters, at most 64 characters. */
export const REQUESTED_BY_PATTERN = /^[^\p{C}\p{Zl}\p{Zp}]{1,64}$/u
/** A text that a person writes for others, with the same allowed characters. */
export const ONE_LINE_PATTERN = /^[^\p{C}\p{Zl}\p{Zp}]+$/u
