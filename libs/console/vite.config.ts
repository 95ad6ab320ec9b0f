import react from '@vitejs/plugin-react';
import { defineConfig } from 'vite';

/** Relative paths, since an app may serve the console below any path. Nothing is inlined, since the policy forbids it. */
export default defineConfig({
  base: './',
  plugins: [react()],
  build: {
    outDir: 'dist',
    assetsInlineLimit: 0,
    modulePreload: false,
    target: 'es2022',
    reportCompressedSize: false,
    // The console of every app, and the lab, which the demo of the repository serves.
    rolldownOptions: { input: ['index.html', 'lab.html'] },
  },
});
