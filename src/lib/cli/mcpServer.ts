import { Server } from '@modelcontextprotocol/sdk/server/index.js'
import { StdioServerTransport } from '@modelcontextprotocol/sdk/server/stdio.js'
import { CallToolRequestSchema, ListToolsRequestSchema } from '@modelcontextprotocol/sdk/types.js'
import { callTool, listTools, type ToolWork } from './mcp.js'

/** Serves the tools on standard input and output until the client closes them, or `stop` is aborted. */
export async function serveMcp(version: string, work: ToolWork, stop: AbortSignal): Promise<void> {
  const server = new Server({ name: 'clawctl', version }, { capabilities: { tools: {} } })
  server.setRequestHandler(ListToolsRequestSchema, () => ({ tools: listTools() }))
  server.setRequestHandler(CallToolRequestSchema, ({ params }) => callTool(params.name, params.arguments, work))
  const closed = new Promise<void>((resolve) => {
    server.onclose = resolve
    process.stdin.once('end', resolve)
    stop.addEventListener('abort', () => resolve())
  })
  await server.connect(new StdioServerTransport())
  await closed
  await server.close()
}
