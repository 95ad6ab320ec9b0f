// Without a configuration of its own, vitest would look for one in the folders above the service.
export default {};
