import { createContext, useContext } from 'react';
import { en, type Word } from './words-en';
import { zh } from './words-zh';

export type { Word };

export const languages = { en, zh };
export type Language = keyof typeof languages;
export const LanguageContext = createContext<Language>('en');
export const firstLanguage = (): Language => (navigator.language.toLowerCase().startsWith('zh') ? 'zh' : 'en');

/** The words of the chosen language. */
export function useWords(): Record<Word, string> {
  return languages[useContext(LanguageContext)];
}
