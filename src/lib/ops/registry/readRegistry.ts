import { parseRegistry, type Registry } from '../../domain/registry/registry.js'
import type { RegistrySource } from '../ports.js'

/** @throws ClawctlError REGISTRY_NOT_FOUND, INVALID_REGISTRY */
export async function readRegistry(source: RegistrySource): Promise<Registry> {
  const { text, origin } = await source.read()
  return parseRegistry(text, origin)
}
