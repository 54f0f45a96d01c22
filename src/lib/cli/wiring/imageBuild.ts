import { digests, imageFiles } from '../../adapters/images/imageFile.js'
import { createNix, outputFolder } from '../../adapters/images/nix.js'
import { githubJobReport } from '../../adapters/jobReport.js'
import type { Env } from '../../adapters/settings.js'
import type { BuildPorts } from '../../ops/images/buildImage.js'

/** The adapters of `image build`, which touches no AWS. */
export function imageBuildPorts(
  shared: Pick<BuildPorts, 'clock' | 'progress' | 'registry' | 'stop' | 'flake'> & { env: Env },
): BuildPorts {
  const { env, progress, stop, ...rest } = shared
  return {
    ...rest,
    progress,
    stop,
    files: imageFiles,
    digests,
    output: outputFolder,
    nix: createNix({ onOutput: (line) => progress.note(`  ${line}`), signal: stop }),
    report: githubJobReport(env),
  }
}
