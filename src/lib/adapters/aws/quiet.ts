// Read by the SDK when it loads; on Node 20 it would else print a warning into every command's stderr.
process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED = 'true'
