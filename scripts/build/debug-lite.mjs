/** Replaces `debug`, which oclif loads at each start to trace itself. `DEBUG=clawctl` does not use it. */
export default () => () => {}
