# Translates older forms of the gateway's channel settings.
{ lib }:
{
  /**
    Discord channels of a configuration that use the older `allow`.
  */
  legacy =
    config:
    lib.concatLists (
      lib.mapAttrsToList (
        guild: settings:
        lib.mapAttrsToList (channel: _: "channels.discord.guilds.${guild}.channels.${channel}") (
          lib.filterAttrs (_: one: one ? allow) (settings.channels or { })
        )
      ) (config.channels.discord.guilds or { })
    );

  /**
    The configuration with `allow` renamed to `enabled`; if both are set, `enabled` counts.
  */
  modern =
    config:
    let
      channel =
        settings:
        removeAttrs settings [ "allow" ]
        // lib.optionalAttrs (settings ? allow) { enabled = settings.enabled or settings.allow; };
      guild =
        settings:
        settings
        // lib.optionalAttrs (settings ? channels) {
          channels = lib.mapAttrs (_: channel) settings.channels;
        };
    in
    config
    // lib.optionalAttrs (config ? channels.discord.guilds) {
      channels = config.channels // {
        discord = config.channels.discord // {
          guilds = lib.mapAttrs (_: guild) config.channels.discord.guilds;
        };
      };
    };
}
