# What is different in every fleet, in one place. Null switches off what needs it, so a fresh clone evaluates.
# The platform stack's outputs go here: `tofu -chdir=infra/opentofu/aws/platform output`.
{
  # Region of the fleet.
  region = "eu-central-1";

  # Bucket of bundles and heartbeats. Null: /etc/clawdinator/bucket, which user data may write.
  bucket = null;

  # EFS of the shared memory (fs-…). Null: each host remembers for itself.
  memoryFileSystemId = null;

  # GitHub App that reads issues and pull requests: { appId = "…"; installationId = "…"; }. Null: no GitHub monitor.
  githubApp = null;

  # Organisation that is monitored.
  githubOrg = "openclaw";

  # Discord: guild id → its settings in the gateway's configuration. With none the agent answers nowhere.
  # { "<GUILD_ID>" = { requireMention = true; users = [ "<MAINTAINER_ID>" ]; channels."<CHANNEL_ID>".enabled = true; }; }
  discordGuilds = { };

  # Telegram, by numeric ids; null: no Telegram. Each instance has a bot of its own, whose token is the secret
  # clawdinator-telegram-token-<id>.
  # { allowFrom = [ "<MAINTAINER_ID>" ]; groups."-100<GROUP_ID>".requireMention = true; }
  telegram = null;
}
