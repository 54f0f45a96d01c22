/** Stands for `debug`, with which oclif would trace itself: `DEBUG=clawctl` is ours, and every start would load it. */
export default () => () => {}
