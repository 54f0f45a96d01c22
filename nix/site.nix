# Settings that differ in each fleet. Null disables the feature, so that a new clone evaluates. Take the values from the outputs
# of the platform stack: `tofu -chdir=infra/opentofu/aws/platform output`.
{
  # Region of the fleet.
  region = "eu-central-1";

  # Bucket of bundles and heartbeats. Null: the content of /etc/clawdinator/bucket, which user data may write.
  bucket = null;

  # EFS of the shared memory (fs-…). Null: each host has its own memory.
  memoryFileSystemId = null;

  # GitHub App that reads issues and pull requests: { appId = "…"; installationId = "…"; }. Null: no GitHub monitor.
  githubApp = null;

  # The organisation that the GitHub monitor reads.
  githubOrg = "openclaw";

  # Discord: guild id → settings of the guild in the gateway's configuration. Empty: the agent does not answer on Discord.
  # { "<GUILD_ID>" = { requireMention = true; users = [ "<MAINTAINER_ID>" ]; channels."<CHANNEL_ID>".enabled = true; }; }
  discordGuilds = { };

  # Telegram, with numeric ids. Null: no Telegram. Each instance has its own bot; its token is the secret
  # clawdinator-telegram-token-<id>.
  # { allowFrom = [ "<MAINTAINER_ID>" ]; groups."-100<GROUP_ID>".requireMention = true; }
  telegram = null;
}
