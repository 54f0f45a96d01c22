const { reporters } = require('mocha')

/** mocha's spec reporter with one closing line that a machine can read. */
module.exports = class ClosingLine extends reporters.Spec {
  epilogue() {
    super.epilogue()
    const { passes, failures, pending } = this.stats
    process.stdout.write(`${passes} passed, ${failures} failed${pending > 0 ? `, ${pending} skipped` : ''}\n`)
  }
}
